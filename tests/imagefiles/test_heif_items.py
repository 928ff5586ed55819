"""What boxes of AVIF and HEIC say: turns in any order, images of tiles, alphas, and what is not read."""

import io
import itertools
import struct
from collections.abc import Sequence

import imagecodecs
import numpy as np
import pillow_heif
import pytest

from helpers.image_files import noise, read_header, read_image
from inputs.codec_files import box, heic
from inputs.making import exif, smooth
from smalti.imagefiles.encoded.heif_items import Item
from smalti.imagefiles.format import UnreadableImageError, upright
from smalti.imagefiles.table import open_images

TURNS = [None, *((b"irot", bytes([turn])) for turn in range(4)), *((b"imir", bytes([axis])) for axis in (0, 1))]


@pytest.mark.parametrize("steps", list(itertools.product(TURNS, repeat=3)))
def test_turns_and_mirrors_in_any_order_are_one_orientation(steps: Sequence[tuple[bytes, bytes] | None]) -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    expected = pixels
    for kind, data in (step for step in steps if step is not None):
        expected = np.rot90(expected, data[0]) if kind == b"irot" else np.flip(expected, data[0])
    item = Item(properties=[step for step in steps if step is not None])
    np.testing.assert_array_equal(upright(pixels, item.orientation), expected)


def full(kind: bytes, content: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, bytes([version]) + flags.to_bytes(3) + content)


class Made:
    """An AVIF file that is put together of items."""

    def __init__(self, brand: bytes = b"avif") -> None:
        self.brand = brand
        self.entries: list[tuple[bytes, bool, bytes, list[bytes]]] = []
        self.references: list[bytes] = []

    def add(self, kind: bytes, data: bytes, *properties: bytes, hidden: bool = False) -> int:
        self.entries.append((kind, hidden, data, list(properties)))
        return len(self.entries)

    def refer(self, kind: bytes, source: int, *targets: int) -> None:
        self.references.append(box(kind, struct.pack(f">HH{len(targets)}H", source, len(targets), *targets)))

    def data(self, primary: int = 1, more: bytes = b"") -> bytes:
        head = box(b"ftyp", self.brand + b"\0\0\0\0avifmif1miaf")
        size = len(head) + len(self._meta(primary, 0)) + 8
        return head + self._meta(primary, size) + box(b"mdat", b"".join(entry[2] for entry in self.entries)) + more

    def _meta(self, primary: int, start: int) -> bytes:
        known = [one for entry in self.entries for one in entry[3]]
        places, infos, extents, at = b"", b"", b"", 0
        for number, (kind, hidden, data, properties) in enumerate(self.entries, 1):
            infos += full(b"infe", struct.pack(">HH", number, 0) + kind + b"\0", 2, int(hidden))
            extents += struct.pack(">HHHII", number, 0, 1, start + at, len(data))
            at += len(data)
            own = [known.index(one) + 1 | 128 * (one[4:8] in (b"clap", b"irot", b"imir")) for one in properties]
            places += struct.pack(">HB", number, len(own)) + bytes(own)
        count = len(self.entries)
        return full(
            b"meta",
            full(b"hdlr", b"\0\0\0\0pict" + bytes(13))
            + full(b"pitm", struct.pack(">H", primary))
            + full(b"iloc", b"\x44\0" + struct.pack(">H", count) + extents)
            + full(b"iinf", struct.pack(">H", count) + infos)
            + (full(b"iref", b"".join(self.references)) if self.references else b"")
            + box(b"iprp", box(b"ipco", b"".join(known)) + full(b"ipma", struct.pack(">I", count) + places)),
        )


def parts(data: bytes, mark: bytes) -> bytes:
    """Return a box of a file, by its kind."""
    place = data.index(mark) - 4
    return data[place : place + int.from_bytes(data[place : place + 4])]


def add_image(made: Made, pixels: np.ndarray, *more: bytes, hidden: bool = False) -> int:
    """Add what imagecodecs encodes of some pixels."""
    data = imagecodecs.avif_encode(pixels, level=100)
    properties = [parts(data, kind) for kind in (b"ispe", b"pixi", b"av1C", b"colr")]
    return made.add(b"av01", parts(data, b"mdat")[8:], *properties, *more, hidden=hidden)


def test_an_image_of_tiles_has_the_size_of_all_and_the_bits_of_one() -> None:
    tiles = [noise(64, 64, 3, seed=seed) for seed in range(2)]
    made = Made()
    size = full(b"ispe", struct.pack(">II", 100, 64))
    pixi = full(b"pixi", b"\3\x08\x08\x08")
    grid = made.add(b"grid", b"\0\0\0\1" + struct.pack(">HH", 100, 64), size, pixi)
    numbers = [add_image(made, tile, hidden=True) for tile in tiles]
    made.refer(b"dimg", grid, *numbers)
    header, pixels = read_image(io.BytesIO(made.data()))
    assert (header.shape, header.unread) == ((64, 100, 3), None)
    np.testing.assert_array_equal(pixels, np.concatenate(tiles, axis=1)[:, :100])


def test_tiles_of_heic_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pillow_heif.options, "GRID_TILE_SIZE", 64)
    grey = noise(100, 150)
    header, pixels = read_image(io.BytesIO(heic("L", grey)))
    assert header.fields == {}
    np.testing.assert_array_equal(pixels[..., 0], grey)


def test_a_crop_of_avif_is_a_field_and_a_turn_is_applied() -> None:
    made = Made()
    crop = box(b"clap", struct.pack(">8i", 5, 1, 4, 1, 0, 1, 0, 1))
    add_image(made, noise(9, 11, 3), crop, box(b"irot", b"\1"), box(b"imir", b"\1"))
    header, pixels = read_image(io.BytesIO(made.data()))
    assert header.fields == {"source_orientation": 7, "clean_aperture": "[5, 1, 4, 1, 0, 1, 0, 1]"}
    np.testing.assert_array_equal(pixels, np.flip(np.rot90(noise(9, 11, 3)), 1))


def test_what_lies_beside_the_image_is_told_of() -> None:
    made = Made()
    first = add_image(made, noise(9, 11, 3))
    second = add_image(made, noise(9, 11, 3, seed=1))
    small, depth = add_image(made, noise(4, 5, 3)), add_image(made, noise(9, 11), DEPTH)
    made.refer(b"thmb", small, first)
    made.refer(b"auxl", depth, first)
    made.add(b"tmap", b"", full(b"ispe", struct.pack(">II", 11, 9)))
    header, pixels = read_image(io.BytesIO(made.data(second)))
    assert header.unread == "a gain map and 1 further image"
    np.testing.assert_array_equal(pixels, noise(9, 11, 3, seed=1))
    assert read_header(io.BytesIO(made.data(first))).unread == (
        "an image of another kind (depth) and a gain map and 1 further image"
    )


DEPTH = full(b"auxC", b"urn:mpeg:mpegB:cicp:systems:auxiliary:depth\0")


def test_an_animation_behind_an_avif_image_is_told_of() -> None:
    whole = imagecodecs.avif_encode(noise(3, 9, 11, 3), level=100)
    made = Made()
    add_image(made, noise(9, 11, 3))
    header = read_header(io.BytesIO(made.data(more=parts(whole, b"moov"))))
    assert (header.shape, header.unread) == ((9, 11, 3), "an animation behind its image")


def test_colours_multiplied_by_alpha_are_a_field_of_heic() -> None:
    pixels = noise(20, 30, 4)
    pixels[..., :3] = np.minimum(pixels[..., :3], pixels[..., 3:])
    header, found = read_image(io.BytesIO(heic("RGBa", pixels)))
    assert header.fields == {"alpha_associated": True}
    np.testing.assert_array_equal(found, pixels)


def test_images_of_heic_may_have_several_sizes_and_each_keeps_its_own() -> None:
    images = [noise(20, 30), noise(40, 24, seed=1), noise(8, 70, seed=2)]
    file = open_images(io.BytesIO(heic("L", *images)))
    assert [header.shape for header in file.headers] == [(20, 30, 1), (40, 24, 1), (8, 70, 1)]
    for number, pixels in enumerate(images):
        np.testing.assert_array_equal(file.image(number)[1][..., 0], pixels)


@pytest.mark.parametrize("primary", [0, 2])
def test_each_image_of_heic_has_its_own_turn(primary: int) -> None:
    made, images, turns = pillow_heif.HeifFile(), [noise(20, 30, seed=seed) for seed in range(3)], [1, 6, 3]
    for number, (pixels, turn) in enumerate(zip(images, turns, strict=True)):
        made.add_frombytes("L", (30, 20), pixels.tobytes())
        made[number].info["exif"] = exif(turn).tobytes()
    data = io.BytesIO()
    made.save(data, quality=-1, primary_index=primary)
    file = open_images(data)
    for number, (pixels, turn) in enumerate(zip(images, turns, strict=True)):
        header, found = file.image(number)
        assert header.fields == {"plane": number, **({"source_orientation": turn} if turn > 1 else {})}
        np.testing.assert_array_equal(found, upright(pixels[:, :, None], turn))


def test_thumbnails_of_heic_are_no_images() -> None:
    made = pillow_heif.from_bytes("RGB", (300, 200), smooth(200, 300, 3).tobytes())
    made[0].info["thumbnails"] = [64]
    file = io.BytesIO()
    made.save(file)
    (header,) = open_images(file).headers
    assert (header.shape, header.unread) == ((200, 300, 3), None)


def test_many_references_and_items_take_no_quadratic_time() -> None:
    made = Made()
    image = add_image(made, noise(9, 11, 3))
    many = [made.add(b"av01", b"", hidden=True) for _ in range(3000)]
    for number in many:
        made.refer(b"auxl", number, image)
        made.refer(b"dimg", image, number)
    assert read_header(io.BytesIO(made.data())).shape == (9, 11, 3)


@pytest.mark.parametrize("brand", [b"avis", b"avif"])
def test_an_avif_file_without_an_image_is_damaged(brand: bytes) -> None:
    data = box(b"ftyp", brand + b"\0\0\0\0avif")
    with pytest.raises(UnreadableImageError, match="damaged"):
        read_header(io.BytesIO(data))


def test_a_sequence_of_heif_without_images_is_refused_in_words() -> None:
    with pytest.raises(UnreadableImageError, match="a sequence of them"):
        read_header(io.BytesIO(box(b"ftyp", b"hevc\0\0\0\0msf1") + box(b"moov", b"")))
