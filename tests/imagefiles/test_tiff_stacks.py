"""Stacks in TIFF files, as tifffile writes them: pages, planes in one page, axes, smaller copies."""

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from helpers.image_files import assert_same, everything, noise
from helpers.tiff_stacks import deep, holds, read, tiff
from smalti.imagefiles.format import UnreadableImageError
from smalti.imagefiles.table import open_images
from smalti.imagefiles.tiff.tiff_ome import ome_planes
from smalti.sinks.sink import open_image_writer
from smalti.sources.open import open_source

LAYOUTS = [
    {},
    {"byteorder": ">"},
    {"bigtiff": True},
    {"bigtiff": True, "byteorder": ">"},
    {"compression": "zlib", "predictor": True},
    {"compression": "lzw", "predictor": True, "byteorder": ">"},
    {"compression": "packbits"},
    {"compression": "lzma"},
    {"tile": (16, 16)},
    {"tile": (16, 16), "compression": "zstd"},
    {"rowsperstrip": 7},
    {"compression": "lerc"},
    {"metadata": None},
    {"truncate": True},
    {"truncate": True, "rowsperstrip": 7, "byteorder": ">"},
    {"truncate": True, "bigtiff": True, "byteorder": ">"},
    {"imagej": True},
    {"imagej": True, "byteorder": "<"},
    {"imagej": True, "truncate": True},
    {"ome": True},
    {"ome": True, "compression": "zlib"},
    {"description": "a text of somebody else"},
]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_page_or_plane_is_an_image(layout: dict[str, object], dtype: type) -> None:
    planes = noise(12, 20, 24) if dtype == np.uint8 else deep(12, 20, 24).view(dtype)
    headers = holds(tiff(planes, **layout), planes)
    assert [header.fields for header in headers] == [{"plane": number} for number in range(12)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_pages_of_colours(dtype: type, planar: str) -> None:
    pixels = noise(4, 20, 24, 3) if dtype == np.uint8 else deep(4, 20, 24, 3).view(dtype)
    stored = np.moveaxis(pixels, -1, 1) if planar == "separate" else pixels
    holds(tiff(stored, photometric="rgb", planarconfig=planar), pixels)
    holds(tiff(stored, photometric="rgb", planarconfig=planar, truncate=True), pixels)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "tile": (16, 16)}, {"rowsperstrip": 3}])
def test_planes_of_channels_that_are_no_colours_are_images(options: dict[str, object]) -> None:
    pixels = deep(5, 20, 24)
    headers = holds(tiff(pixels, planarconfig="separate", **options), pixels)
    assert [header.fields for header in headers] == [{"c": number} for number in range(5)]


FIVE = noise(2 * 2 * 3, 20, 24).reshape(2, 2, 3, 20, 24)


def test_axes_of_imagej() -> None:
    for axis in "zt":
        headers = holds(tiff(noise(7, 8, 9), imagej=True, metadata={"axes": f"{axis.upper()}YX"}), noise(7, 8, 9))
        assert [header.fields for header in headers] == [{axis: number} for number in range(7)]
    for truncate in (False, True):
        file = tiff(FIVE, imagej=True, metadata={"axes": "TZCYX", "mode": "composite"}, truncate=truncate)
        headers = holds(file, FIVE.reshape(-1, 20, 24))
        assert [header.fields for header in headers] == [
            {"z": z, "t": t, "c": c} for t in range(2) for z in range(2) for c in range(3)
        ]


def test_a_third_axis_that_is_called_channels_for_want_of_a_name_is_not_known() -> None:
    for options in ({"imagej": True}, {"ome": True}):
        headers = holds(tiff(noise(7, 8, 9), **options), noise(7, 8, 9))
        assert [header.fields for header in headers] == [{"plane": number} for number in range(7)]
    named = {"axes": "CYX", "Channel": {"Name": ["red", "far red"]}}
    headers = holds(tiff(deep(2, 8, 9), ome=True, metadata=named), deep(2, 8, 9))
    assert [header.fields for header in headers] == [{"c": 0, "channel": "red"}, {"c": 1, "channel": "far red"}]
    shown = {"axes": "CYX", "mode": "composite"}
    headers = holds(tiff(deep(2, 8, 9), imagej=True, metadata=shown), deep(2, 8, 9))
    assert [header.fields for header in headers] == [{"c": 0}, {"c": 1}]


@pytest.mark.parametrize("axes", ["TZCYX", "ZTCYX", "CTZYX", "TCZYX"])
def test_axes_of_ome(axes: str) -> None:
    headers = holds(tiff(FIVE, ome=True, metadata={"axes": axes}), FIVE.reshape(-1, 20, 24))
    places = [dict(zip(axes.lower(), place, strict=False)) for place in np.ndindex(FIVE.shape[:3])]
    assert [header.fields for header in headers] == places
    assert list(headers[0].fields) == ["z", "t", "c"]


def test_axes_of_a_shape() -> None:
    headers = holds(tiff(FIVE, metadata={"axes": "TZCYX"}), FIVE.reshape(-1, 20, 24))
    assert headers[5].fields == {"z": 1, "t": 0, "c": 2}
    headers = holds(tiff(FIVE, metadata={"axes": "TQCYX"}), FIVE.reshape(-1, 20, 24))
    assert headers[5].fields == {"t": 0, "c": 2, "plane": 5}
    colours = noise(5, 8, 9, 3)
    headers = holds(tiff(colours, photometric="rgb", metadata={"axes": "ZYXS"}), colours)
    assert headers[4].fields == {"z": 4}


def test_pages_of_several_shapes_and_kinds() -> None:
    file = BytesIO()
    one, two, three = deep(3, 8, 9), noise(4, 5), noise(6, 7, 3)
    with tifffile.TiffWriter(file) as writer:
        writer.write(one, photometric="minisblack", metadata={"axes": "ZYX"})
        writer.write(two, photometric="minisblack")
        writer.write(three, photometric="rgb")
        writer.write(one, photometric="minisblack", metadata={"axes": "TYX"}, compression="zlib")
    headers = holds(file, [*one, two, three, *one])
    assert [dict(header.fields) for header in headers] == [
        *({"z": number} for number in range(3)),
        *({"plane": number} for number in (3, 4)),
        *({"t": number} for number in range(3)),
    ]


def test_pages_that_cannot_be_read_are_told() -> None:
    file = BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for _ in range(2):
            writer.write(np.zeros((4, 5), np.float32))
        writer.write(noise(4, 5), photometric="minisblack")
    headers, images = read(file)
    assert len(images) == 1
    assert (headers[0].unread or "").startswith("2 pages not read (float 32-bit samples")
    only = tiff(np.zeros((3, 4, 5), np.float32))
    with pytest.raises(UnreadableImageError, match="float 32-bit samples"):
        open_images(only).headers  # noqa: B018 (it raises)


def test_smaller_copies_and_masks_are_told_and_are_no_images() -> None:
    planes = deep(3, 16, 16)
    file = BytesIO()
    with tifffile.TiffWriter(file, ome=True) as writer:
        options = {"photometric": "minisblack", "subfiletype": 1}
        writer.write(planes.repeat(4, 1).repeat(4, 2), subifds=2, photometric="minisblack", metadata={"axes": "ZYX"})
        writer.write(planes.repeat(2, 1).repeat(2, 2), **options)  # type: ignore[arg-type]
        writer.write(planes, **options)  # type: ignore[arg-type]
    headers, images = read(file)
    assert [image.shape for image in images] == [(64, 64, 1)] * 3
    assert [header.fields for header in headers] == [{"z": 0}, {"z": 1}, {"z": 2}]
    assert [header.unread for header in headers] == ["6 smaller copies", None, None]
    file = BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(noise(16, 16), photometric="minisblack")
        writer.write(noise(8, 8), photometric="minisblack", subfiletype=1)
        writer.write(noise(16, 16) > 99, photometric="minisblack", subfiletype=4)
    headers, images = read(file)
    assert (len(images), headers[0].unread) == (1, "1 mask; 1 smaller copy")
    holds(tiff(noise(8, 8), subfiletype=1), noise(1, 8, 8))  # nothing else is there


def test_images_below_a_page_are_images() -> None:
    file = BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(noise(40, 40), subifds=1, metadata=None, photometric="minisblack")
        writer.write(noise(30, 40, seed=1), metadata=None, photometric="minisblack")
        writer.write(noise(20, 40, seed=2), metadata=None, photometric="minisblack")
    holds(file, [noise(40, 40), noise(30, 40, seed=1), noise(20, 40, seed=2)])


def test_images_that_follow_one_below_a_page_are_images() -> None:
    file = BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(noise(40, 40), subifds=2, metadata=None, photometric="minisblack")
        for seed in (1, 2):
            writer.write(noise(30, 40, seed=seed), metadata=None, photometric="minisblack")
    data = bytearray(file.getvalue())
    start = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[start : start + 2], "little")
    places = range(start + 2, start + 2 + 12 * entries, 12)
    listed = next(place for place in places if int.from_bytes(data[place : place + 2], "little") == 330)
    beside = int.from_bytes(data[listed + 8 : listed + 12], "little")
    first, second = struct.unpack_from("<II", data, beside)
    struct.pack_into("<II", data, listed + 4, 1, first)
    struct.pack_into("<I", data, first + 2 + 12 * int.from_bytes(data[first : first + 2], "little"), second)
    holds(BytesIO(bytes(data)), [noise(40, 40), noise(30, 40, seed=1), noise(30, 40, seed=2)])


def test_a_volume_is_refused_with_the_number_of_its_planes() -> None:
    file = tiff(noise(12, 20, 24), volumetric=True, tile=(16, 32, 32))
    with pytest.raises(UnreadableImageError, match=r"12 planes in one page \(a volume\)"):
        open_images(file).headers  # noqa: B018 (it raises)


def test_the_planes_of_metamorph() -> None:
    planes = noise(6, 20, 24)
    planes_tag = [(33629, 5, 6, [1] * 12, True)]  # UIC2: one entry for each plane
    data = tiff(planes[0], metadata=None, extratags=planes_tag).getvalue()
    assert data.endswith(planes[0].tobytes())
    headers = holds(BytesIO(data + planes[1:].tobytes()), planes)
    assert headers[5].fields == {"plane": 5}


def test_what_a_text_states_and_the_file_does_not_hold_is_told() -> None:
    text = tiff(noise(12, 20, 24), imagej=True, truncate=True)
    text.seek(0)
    stated = tifffile.TiffFile(text).pages[0].description  # type: ignore[union-attr]
    copied = tiff(noise(20, 24), description=stated, metadata=None)
    headers, images = read(copied)
    assert (len(images), headers[0].unread) == (1, "ImageJ states 12 planes, and here are 1")
    headers, images = read(tiff(noise(20, 24), description=OME, metadata=None))
    assert (len(images), headers[0].unread) == (1, "11 planes of its OME-XML missing")
    cut = text.getvalue()[:-480]
    with pytest.raises(UnreadableImageError, match="states 12 planes in one page, and the file has room for 11"):
        open_images(BytesIO(cut)).headers  # noqa: B018 (it raises)


OME = '<?xml version="1.0"?><OME><Image><Pixels SizeX="24" SizeY="20" SizeZ="4" SizeC="3" SizeT="1"/></Image></OME>'


def ome(blocks: str, sizes: str = 'SizeZ="2" SizeC="1" SizeT="1"', uuid: str = ' UUID="own"', names: str = "") -> str:
    pixels = f'<Pixels DimensionOrder="XYZCT" {sizes}>{names}{blocks}</Pixels>'
    return f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{uuid}><Image>{pixels}</Image></OME>'


def test_planes_of_ome_in_other_files() -> None:
    one, two = (
        f'<TiffData FirstZ="{z}" IFD="0"><UUID FileName="{z}.tif">{u}</UUID></TiffData>'
        for z, u in enumerate(("own", "x"))
    )
    headers, _ = read(tiff(noise(20, 24), description=ome(one + two), metadata=None))
    assert (headers[0].fields, headers[0].unread) == ({"z": 0}, "1 plane of its OME-XML in other files")
    headers, _ = read(tiff(noise(20, 24), description=ome(one + two, uuid=""), metadata=None))
    assert (headers[0].fields, headers[0].unread) == ({}, None)


@pytest.mark.parametrize(
    "text",
    [
        ome("<TiffData/>", 'SizeZ="-2" SizeC="1" SizeT="1"'),
        ome("<TiffData/>", 'SizeZ="many" SizeC="1" SizeT="1"'),
        ome("<TiffData/>", f'SizeZ="{10**9}" SizeC="{10**9}" SizeT="1"'),
        ome('<TiffData IFD="-1"/>'),
        ome('<TiffData IFD="0" PlaneCount="2"/>' * 9),
        ome("<TiffData"),
        "<!DOCTYPE OME [<!ENTITY a 'a'>]>" + ome("<TiffData/>"),
        "<OME>",
        "no OME",
    ],
)
def test_an_ome_text_that_cannot_be_understood_says_nothing(text: str) -> None:
    assert ome_planes(text, 2) is None


def test_a_stack_of_imagej_above_4_gib(tmp_path: Path) -> None:
    planes, side = 4500, 1000
    text = f"ImageJ=1.54f\nimages={planes}\nslices={planes}\nloop=false\n"
    head = tiff(noise(side, side), description=text, metadata=None).getvalue()
    last = noise(side, side, seed=1)
    with (tmp_path / "a.tif").open("w+b") as file:  # with a hole, so that it takes no space
        file.write(head)
        file.seek((planes - 2) * side * side, 1)
        file.write(last.tobytes())
        assert file.tell() > 1 << 32
        images = open_images(file)
        assert len(images.headers) == planes
        assert images.headers[-1].fields == {"z": planes - 1}
        np.testing.assert_array_equal(images.image(0)[1][..., 0], noise(side, side))
        assert not images.image(planes - 2)[1].any()
        np.testing.assert_array_equal(images.image(planes - 1)[1][..., 0], last)


def pillow_pages(mode: str, **options: object) -> list[bytes]:
    """Return a TIFF file of three pages, and each page as a file of its own."""
    pages = [Image.fromarray(noise(32, 48, 3, seed=seed)).convert(mode) for seed in range(3)]
    files = [BytesIO() for _ in range(4)]
    pages[0].save(files[0], "tiff", save_all=True, append_images=pages[1:], **options)
    for page, file in zip(pages, files[1:], strict=True):
        page.save(file, "tiff", **options)
    return [file.getvalue() for file in files]


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("1", {"compression": "group4"}),
        ("1", {"compression": "group3"}),
        ("1", {}),
        ("P", {"compression": "tiff_adobe_deflate"}),
        ("CMYK", {}),
        ("RGB", {"compression": "jpeg", "quality": 90}),
        ("L", {"compression": "jpeg"}),
        ("RGBA", {"compression": "tiff_lzw"}),
        ("LA", {}),
        ("RGB", {"compression": "zstd"}),
    ],
)
def test_a_page_is_read_as_if_it_were_alone(mode: str, options: dict[str, object]) -> None:
    together, *alone = pillow_pages(mode, **options)
    headers, images = read(BytesIO(together))
    for number, (header, pixels) in enumerate(zip(headers, images, strict=True)):
        (own,), (stored,) = read(BytesIO(alone[number]))
        assert header.fields == {**own.fields, "plane": number}
        np.testing.assert_array_equal(pixels, stored)


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
def test_jpeg_in_tiles_with_tables(subsampling: tuple[int, int]) -> None:
    colours = np.stack([np.add.outer(np.arange(64), np.arange(64) * k).astype(np.uint8) for k in (1, 2, 3)], 2)
    stack = np.stack([colours, colours[::-1], colours[:, ::-1]])
    options = {"compression": "jpeg", "tile": (32, 32), "subsampling": subsampling, "photometric": "rgb"}
    file = tiff(stack, compressionargs={"level": 90, "outcolorspace": "YCbCr"}, **options)
    _, images = read(file)
    file.seek(0)
    expected = tifffile.imread(file)
    assert len(images) == 3
    for found, one in zip(images, expected, strict=True):
        assert np.abs(found.astype(int) - one).max() <= 3  # two versions of libjpeg


def test_a_stack_comes_back_from_a_folder_of_png_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    tifffile.imwrite(
        tmp_path / "in" / "a.ome.tif", deep(12, 8, 9), ome=True, photometric="minisblack", metadata={"axes": "ZYX"}
    )
    stored = everything(open_source(tmp_path / "in"))
    with open_image_writer(tmp_path / "out", (8, 9, 1), 12, dtype=np.dtype(np.uint16)) as writer:
        writer.write(stored)
    assert (tmp_path / "out" / "a.ome#10.png").is_file()
    again = everything(open_source(tmp_path / "out"))
    assert_same(again, stored)
    assert again.names == tuple(f"a.ome.tif#{number}" for number in range(12))
    assert again.fields == stored.fields == {"z": list(range(12))}
