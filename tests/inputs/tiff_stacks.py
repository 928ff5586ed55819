"""Cases of TIFF files of several images: pages, stacks with and without axes, channels, pyramids."""

import struct
import tarfile
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import skimage
import tifffile
from PIL import Image

from inputs.case import Case, Group, Made, Pixels, Value
from inputs.making import noise, passed_over, png, tiff, wide, write

Fields = Mapping[str, Sequence[Value]]
Part = tuple[Pixels, Fields]  # images of one shape, and their columns


def cases() -> list[Case]:
    return [*_pages(), *_planes_in_one_page(), *_axes(), *_channels(), *_mixed(), *_damaged(), *_elsewhere()]


def stack(what: str, maker: str, name: str, data: bytes, parts: Sequence[Part], order: Sequence[int] = ()) -> Case:
    """Return the case of a file of several images.

    parts : the images [n, H, W] or [n, H, W, C] of each shape, with their columns
    order : the numbers of the images in the file, part after part; in order without it
    """

    def make(root: Path) -> Made:
        write(root / name, data)
        left = list(order) or list(range(sum(len(pixels) for pixels, _ in parts)))
        every = dict.fromkeys(column for _, fields in parts for column in fields)
        groups = []
        for pixels, fields in parts:
            names = [f"{name}#{left.pop(0)}" for _ in pixels]
            columns = {column: fields.get(column, [None] * len(pixels)) for column in every}
            groups.append(Group(pixels.reshape(*pixels.shape[:3], -1), names=names, fields=columns))
        return Made(root, groups)

    return Case(what, maker, make)


def _stack(what: str, data: bytes, pixels: Pixels, fields: Fields) -> Case:
    return stack(what, "tifffile", "a.tif", data, [(pixels, fields)])


def _numbered(count: int) -> Fields:
    return {"plane": list(range(count))}


def _grey(pixels: Pixels, **options: object) -> bytes:
    return tiff(pixels, photometric="minisblack", **options)


def _pages() -> list[Case]:
    grey, deep, signed = noise(3, 5, 6), wide(3, 5, 6), wide(3, 5, 6).view(np.int16)
    colours, large = noise(3, 5, 6, 3), wide(4, 40, 50)
    images = [Image.fromarray(image) for image in grey]
    by_pillow = BytesIO()
    images[0].save(by_pillow, "tiff", save_all=True, append_images=images[1:], compression="tiff_lzw")
    planes = tiff(np.moveaxis(colours, -1, 1), photometric="rgb", planarconfig="separate")
    alpha = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    return [
        _stack("TIFF, 3 pages", _grey(grey, metadata=None), grey, _numbered(3)),
        stack("TIFF, 3 pages, LZW", "Pillow", "a.tif", by_pillow.getvalue(), [(grey, _numbered(3))]),
        _stack("TIFF, 3 pages of 16 bits, big endian", _grey(deep, byteorder=">"), deep, _numbered(3)),
        _stack("TIFF, 3 pages of signed 16 bits", _grey(signed, compression="zlib"), signed, _numbered(3)),
        _stack("BigTIFF, big endian, 3 pages", _grey(deep, byteorder=">", bigtiff=True), deep, _numbered(3)),
        _stack("TIFF, 3 pages, RGB", tiff(colours, photometric="rgb"), colours, _numbered(3)),
        _stack("TIFF, 3 pages, RGB by planes", planes, colours, _numbered(3)),
        _stack("TIFF, 3 pages, RGBA", tiff(noise(3, 5, 6, 4), **alpha), noise(3, 5, 6, 4), _numbered(3)),
        _stack(
            "TIFF, 4 pages, Zstandard, tiles, predictor",
            _grey(large, compression="zstd", tile=(16, 16), predictor=True),
            large,
            _numbered(4),
        ),
        _stack("TIFF, 3 pages, white is 0", *_white_is_zero()),
        _stack("TIFF, 300 pages", _grey(noise(300, 4, 5), metadata=None), noise(300, 4, 5), _numbered(300)),
    ]


def _white_is_zero() -> tuple[bytes, Pixels, Fields]:
    stored = noise(3, 5, 6)
    return tiff(stored, photometric="miniswhite"), 255 - stored, {"source_mode": ["L;I"] * 3, **_numbered(3)}


def _planes_in_one_page() -> list[Case]:
    planes, deep = noise(12, 20, 24), wide(12, 20, 24)
    metamorph = _grey(planes[0], metadata=None, extratags=[(33629, 5, 12, [1] * 24, True)]) + planes[1:].tobytes()
    twelve = _numbered(12)
    strips = _grey(planes, truncate=True, rowsperstrip=7)
    colours = noise(4, 5, 6, 3)
    return [
        _stack("TIFF, 12 planes in one page, as ImageJ", tiff(planes, imagej=True, truncate=True), planes, twelve),
        _stack(
            "TIFF, 12 planes of 16 bits in one page, as ImageJ", tiff(deep, imagej=True, truncate=True), deep, twelve
        ),
        _stack("TIFF, 12 planes in one page, with their shape", _grey(planes, truncate=True), planes, twelve),
        _stack("TIFF, 12 planes in one page of strips, with their shape", strips, planes, twelve),
        _stack(
            "TIFF, 4 RGB planes in one page", tiff(colours, photometric="rgb", truncate=True), colours, _numbered(4)
        ),
        stack(
            "TIFF, 12 planes in one page, as MetaMorph",
            "tifffile, planes added",
            "a.tif",
            metamorph,
            [(planes, twelve)],
        ),
    ]


def _axes() -> list[Case]:
    planes, five = noise(12, 20, 24), noise(12, 20, 24).reshape(2, 2, 3, 20, 24)
    ztc = {"z": [0, 0, 0, 1, 1, 1] * 2, "t": [0] * 6 + [1] * 6, "c": [0, 1, 2] * 4}
    names = {"axes": "TZCYX", "Channel": {"Name": ["DAPI", "GFP", "far red"]}}
    shown = {"axes": "TZCYX", "mode": "composite"}
    z, t = {"z": list(range(12))}, {"t": list(range(12))}
    return [
        _stack("TIFF, 12 pages, as ImageJ, no axes", tiff(planes, imagej=True), planes, _numbered(12)),
        _stack("TIFF, 12 slices, as ImageJ", tiff(planes, imagej=True, metadata={"axes": "ZYX"}), planes, z),
        _stack("TIFF, 12 frames, as ImageJ", tiff(planes, imagej=True, metadata={"axes": "TYX"}), planes, t),
        _stack(
            "TIFF, a hyperstack of ImageJ in one page",
            tiff(five, imagej=True, metadata=shown, truncate=True),
            planes,
            ztc,
        ),
        _stack("TIFF, axes with its shape", _grey(five, metadata={"axes": "TZCYX"}), planes, ztc),
        _stack("OME-TIFF, no axes", _grey(planes, ome=True), planes, _numbered(12)),
        _stack("OME-TIFF, z", _grey(planes, ome=True, metadata={"axes": "ZYX"}), planes, z),
        _stack(
            "OME-TIFF, t, z and named channels",
            _grey(five, ome=True, metadata=names),
            planes,
            ztc | {"channel": ["DAPI", "GFP", "far red"] * 4},
        ),
        _stack(
            "OME-TIFF, channels slowest",
            _grey(five, ome=True, metadata={"axes": "CTZYX"}),
            planes,
            {"z": [0, 1, 2] * 4, "t": [0, 0, 0, 1, 1, 1] * 2, "c": [0] * 6 + [1] * 6},
        ),
    ]


def _channels() -> list[Case]:
    five = wide(5, 20, 24)
    separate = {"photometric": "minisblack", "planarconfig": "separate"}
    tiles = tiff(five, **separate, compression="zlib", tile=(16, 16))
    two = noise(2, 20, 24)
    return [
        _stack("TIFF, 5 channels by planes", tiff(five, **separate), five, {"c": list(range(5))}),
        _stack("TIFF, 5 channels by planes, deflate, tiles", tiles, five, {"c": list(range(5))}),
        _stack("TIFF, 2 channels by planes that are no alpha", tiff(two, **separate), two, {"c": [0, 1]}),
    ]


def _mixed() -> list[Case]:
    return [
        stack("TIFF, pages of two shapes", "tifffile", "a.tif", *_two_shapes()),
        stack("TIFF, pages of 8 and of 16 bits", "tifffile", "a.tif", *_two_depths()),
        _stack("OME-TIFF, a pyramid of 3 sizes in each of 3 planes", *_pyramid()),
        stack("TIFF, an image below the page", "tifffile", "a.tif", *_below()),
    ]


def _written(*pages: tuple[Pixels, Mapping[str, object]], **options: object) -> bytes:
    file = BytesIO()
    with tifffile.TiffWriter(file, **options) as writer:  # type: ignore[arg-type]
        for pixels, of_page in pages:
            writer.write(pixels, photometric="minisblack", **of_page)  # type: ignore[arg-type]
    return file.getvalue()


def _two_shapes() -> tuple[bytes, list[Part], list[int]]:
    first, second = noise(2, 5, 6), noise(7, 4)
    data = _written((first, {}), (second, {}), (first, {}))
    both = np.concatenate([first, first])
    return data, [(both, {"plane": [0, 1, 3, 4]}), (second[None], {"plane": [2]})], [0, 1, 3, 4, 2]


def _two_depths() -> tuple[bytes, list[Part]]:
    first, second = noise(5, 6), wide(5, 6)
    data = _written((first, {}), (second, {"compression": "zlib"}))
    return data, [(first[None], {"plane": [0]}), (second[None], {"plane": [1]})]


def _pyramid() -> tuple[bytes, Pixels, Fields]:
    small = wide(3, 16, 16)
    full = small.repeat(4, 1).repeat(4, 2)
    first = {"subifds": 2, "metadata": {"axes": "ZYX"}}
    reduced = {"subfiletype": 1}
    data = _written((full, first), (small.repeat(2, 1).repeat(2, 2), reduced), (small, reduced), ome=True)
    return data, full, {"z": [0, 1, 2]}


def _below() -> tuple[bytes, list[Part]]:
    first, second = noise(20, 24), noise(10, 24, seed=1)
    data = _written((first, {"subifds": 1, "metadata": None}), (second, {"metadata": None}))
    return data, [(first[None], {"plane": [0]}), (second[None], {"plane": [1]})]


def _refused(what: str, data: bytes, words: str, maker: str = "tifffile, changed") -> Case:
    return Case(what, maker, lambda root: passed_over("a.tif", data, words, root))


def _damaged() -> list[Case]:
    whole = _grey(noise(12, 20, 24), truncate=True)
    volume = _grey(noise(12, 20, 24), volumetric=True, tile=(16, 32, 32))
    return [
        _refused("TIFF, a volume of 12 planes", volume, "12 planes in one page", "tifffile"),
        _refused("TIFF, 12 planes in one page, the last cut off", whole[:-100], "room for 11"),
        _refused("TIFF whose last page leads to its first", _circle(), "in a circle"),
        _refused("TIFF whose pages lead out of the file", _circle(1 << 30), "cut off"),
        Case("TIFF, 3 pages, the second of 32 bits", "tifffile", _with_a_float_page()),
    ]


def _circle(following: int | None = None) -> bytes:
    """Return a TIFF file of two pages, the second of which is followed by the first, or by this offset."""
    data = bytearray(_written((noise(5, 6), {"metadata": None}), (noise(5, 6, seed=1), {"metadata": None})))
    first = int.from_bytes(data[4:8], "little")
    end = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    second = int.from_bytes(data[end : end + 4], "little")
    end = second + 2 + 12 * int.from_bytes(data[second : second + 2], "little")
    data[end : end + 4] = struct.pack("<I", first if following is None else following)
    return bytes(data)


def _with_a_float_page() -> Callable[[Path], Made]:
    first, last = noise(5, 6), noise(5, 6, seed=1)
    data = _written((first, {}), (np.zeros((5, 6), np.float32), {}), (last, {}))

    def make(root: Path) -> Made:
        write(root / "a.tif", data)
        write(root / "z.png", png(noise(5, 6)))
        names = ["a.tif#0", "a.tif#1", "z.png"]
        images = np.stack([first, last, noise(5, 6)])[..., None]
        return Made(root, [Group(images, names=names, fields={"plane": [0, 2, None]})])

    return make


def _imread(data: bytes) -> Pixels:
    pixels: Pixels = tifffile.imread(BytesIO(data))
    return pixels


def _elsewhere() -> list[Case]:
    """Cases of stacks among other things."""
    planes = noise(3, 5, 6)

    def in_tar(root: Path) -> Made:
        data = _grey(planes, metadata={"axes": "ZYX"})
        with tarfile.open(root / "a.tar", "w") as tar:
            for name, content in (("s.tif", data), ("s.cls", b"4"), ("t.png", png(planes[0])), ("t.cls", b"7")):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, BytesIO(content))
        names, fields = ["s.tif#0", "s.tif#1", "s.tif#2", "t.png"], {"z": [0, 1, 2, None]}
        images = np.concatenate([planes, planes[:1]])[..., None]
        return Made(root / "a.tar", [Group(images, labels=[4, 4, 4, 7], names=names, fields=fields)])

    def in_classes(root: Path) -> Made:
        for folder in ("healthy", "ill"):
            write(root / folder / "a.tif", tiff(planes, imagej=True, truncate=True, metadata={"axes": "TYX"}))
        names = [f"{folder}/a.tif#{number}" for folder in ("healthy", "ill") for number in range(3)]
        images = np.concatenate([planes, planes])[..., None]
        classes, fields = ["healthy", "ill"], {"t": [0, 1, 2] * 2}
        return Made(root, [Group(images, labels=[0] * 3 + [1] * 3, class_names=classes, names=names, fields=fields)])

    def alone(root: Path) -> Made:
        write(root / "a.tif", tiff(planes, imagej=True, metadata={"axes": "ZYX"}))
        names = [f"a.tif#{number}" for number in range(3)]
        return Made(root / "a.tif", [Group(planes[..., None], names=names, fields={"z": [0, 1, 2]})])

    data = Path(skimage.__file__).parent / "data"
    shipped = (data / "multipage.tif").read_bytes()
    floats = (data / "multipage_rgb.tif").read_bytes()
    return [
        stack("TIFF, 2 pages", "shipped with scikit-image", "a.tif", shipped, [(_imread(shipped), _numbered(2))]),
        _refused("TIFF, pages of 64-bit floats", floats, "float 64-bit", "shipped with scikit-image"),
        Case("a TIFF stack with a label in a TAR file", "tifffile, tarfile", in_tar),
        Case("TIFF stacks in class folders", "tifffile", in_classes),
        Case("one TIFF stack as the source", "tifffile", alone),
    ]
