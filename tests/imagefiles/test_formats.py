"""The table of image-file formats: first bytes, stacks, rare compressions, quiet decoders."""

import threading
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from helpers.image_files import noise, read_header, read_image
from smalti.errors import SourceError
from smalti.imagefiles.format import HEAD_BYTES, UnreadableImageError
from smalti.imagefiles.quiet import quiet_decoders
from smalti.imagefiles.table import (
    DECODER_FIELDS,
    FORMAT_NAMES,
    FORMATS,
    IMAGE_SUFFIXES,
    format_of,
)
from smalti.sources.folder.folder import FolderRecords
from smalti.sources.open import open_source
from smalti.sources.records.record import survey
from smalti.sources.records.record_source import sources_of


def pillow(pixels: NDArray[np.generic], kind: str, **options: object) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def tiff(pixels: NDArray[np.generic], **options: object) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "tiff", "webp", "gif", "dib"])
def test_a_file_is_known_by_its_first_bytes(kind: str) -> None:
    data = pillow(noise(9, 9), kind)
    found = format_of(data[:HEAD_BYTES])
    assert found is not None
    assert found.name == {"jpeg": "JPEG", "webp": "WebP", "dib": "BMP"}.get(kind, kind.upper())
    assert [one.name for one in FORMATS if one.matches(data[:HEAD_BYTES])] == [found.name]


def test_what_follows_from_the_table() -> None:
    assert FORMAT_NAMES == "PNG, JPEG, BMP, TIFF and further formats"
    assert {".png", ".jpg", ".jfif", ".jpe", ".apng"} <= IMAGE_SUFFIXES
    assert DECODER_FIELDS[:2] == ("source_mode", "source_orientation")
    assert len(set(DECODER_FIELDS)) == len(DECODER_FIELDS)
    assert {"z", "t", "c", "plane", "channel"} <= set(DECODER_FIELDS)
    for one in FORMATS:
        assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in one.suffixes)


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".apng", ".dib"])
def test_rarer_suffixes_are_read_by_what_the_files_are(tmp_path: Path, suffix: str) -> None:
    kind = {".apng": "png", ".dib": "dib"}.get(suffix, "jpeg")
    (tmp_path / f"a{suffix}").write_bytes(pillow(noise(8, 8), kind))
    assert [batch.names for batch in open_source(tmp_path).batches(9)] == [(f"a{suffix}",)]


@pytest.mark.parametrize("options", [{}, {"description": "x" * 3000}, {"metadata": None}])
def test_one_image_is_no_stack(options: dict[str, object]) -> None:
    header, pixels = read_image(BytesIO(tiff(noise(20, 24), **options)))
    assert (header.unread, pixels.shape) == (None, (20, 24, 1))


def test_planes_that_only_the_size_shows_are_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).write_bytes(tiff(noise(60, 80), metadata=None) + noise(60, 90, seed=1).tobytes())
    assert len(open_source(tmp_path)) == 2
    (line,) = [record.getMessage() for record in caplog.records]
    assert "2 files hold more than was read, such as a.tif" in line
    assert "beside the 4,800 of its pixels, which may be further images" in line


def test_a_second_view_behind_a_photo_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photo = Image.fromarray(noise(8, 8))
    photo.save(tmp_path / "a.jpg", "mpo", save_all=True, append_images=[photo])
    assert len(open_source(tmp_path)) == 1
    assert "1 file holds more than was read, such as a.jpg (a second view behind the photo)" in caplog.text


COMPRESSED = {
    "lerc": {},
    "jpeg2000": {"compressionargs": {"reversible": True}},
    "jpegxl": {},
    "png": {},
    "webp": {"compressionargs": {"lossless": True}},
}


@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("compression", COMPRESSED)
def test_compressions_that_pillow_does_not_know_are_read_by_imagecodecs(
    compression: str, tile: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = noise(40, 50, 3)
    data = tiff(pixels, photometric="rgb", compression=compression, tile=tile, **COMPRESSED[compression])
    header, found = read_image(BytesIO(data))
    assert header == read_header(BytesIO(data))
    np.testing.assert_array_equal(found, pixels)
    monkeypatch.setitem(__import__("sys").modules, "imagecodecs", None)
    assert read_header(BytesIO(data)) == header
    with pytest.raises(UnreadableImageError, match=r"TIFF compressed as .* needs imagecodecs"):
        read_image(BytesIO(data))


def test_deep_samples_in_strips_of_jpeg_2000() -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (40, 50), dtype=np.uint16)
    options = {"compression": "jpeg2000", "compressionargs": {"reversible": True}, "rowsperstrip": 16}
    header, found = read_image(BytesIO(tiff(pixels, photometric="minisblack", **options)))
    assert header.dtype == np.uint16
    np.testing.assert_array_equal(found[..., 0], pixels)


def test_a_compression_that_nobody_reads_is_named() -> None:
    data = tiff(noise(40, 50, 3), photometric="rgb", compression="jpegxr")
    with pytest.raises(UnreadableImageError, match=r"compressed in a way that is not read \(JPEG XR\)"):
        read_header(BytesIO(data))


def reversed_bits(pixels: NDArray[np.generic], byteorder: str, **options: object) -> bytes:
    """Make a TIFF file whose tags say that the bits of each byte are reversed, which tifffile does not write."""
    data = tiff(pixels, byteorder=byteorder, metadata=None, extratags=[(265, "H", 1, 2, True)], **options)
    old, new = (number.to_bytes(2, "little" if byteorder == "<" else "big") for number in (265, 266))
    assert data.count(old) == 1
    return data.replace(old, new)


def turned(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Reverse the bits of each byte."""
    stored = np.ascontiguousarray(pixels).view(np.uint8)
    return np.packbits(np.unpackbits(stored[..., None], axis=-1)[..., ::-1], axis=-1)[..., 0].view(pixels.dtype)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2"])
def test_reversed_bits_are_turned(byteorder: str, channels: int, dtype: str) -> None:
    pixels = np.arange(90, dtype=dtype)[: 30 * channels].reshape(5, 6, channels).squeeze() * np.array(2, dtype)
    data = reversed_bits(turned(pixels), byteorder, photometric="rgb" if channels == 3 else "minisblack")
    np.testing.assert_array_equal(read_image(BytesIO(data))[1].squeeze(), pixels)
    np.testing.assert_array_equal(tifffile.imread(BytesIO(data)), pixels)


def test_reversed_bits_that_nobody_turns_are_refused_in_words() -> None:
    data = reversed_bits(noise(5, 6), "<", compression="lerc", photometric="minisblack")
    with pytest.raises(UnreadableImageError, match="bits of each byte in reverse"):
        read_header(BytesIO(data))


def test_libtiff_writes_nothing_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    whole = tiff(noise(40, 50), compression="lzw")
    damaged = bytearray(whole)
    damaged[len(whole) - 1200 : len(whole) - 300] = bytes(900)
    with pytest.raises(UnreadableImageError):
        read_image(BytesIO(bytes(damaged)))
    assert capfd.readouterr().err == ""


class _Warns:
    """Records of a folder that warn when they are read."""

    def __init__(self, root: Path) -> None:
        self._records = FolderRecords(root)

    def __getattr__(self, name: str) -> object:
        return getattr(self._records, name)

    def __len__(self) -> int:
        return len(self._records)

    def read(self, entries):  # type: ignore[no-untyped-def]
        warnings.warn("heard", UserWarning, stacklevel=1)
        yield from self._records.read(entries)


def test_warnings_of_others_are_heard_while_a_source_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(pillow(noise(4, 4), "png"))
    with pytest.warns(UserWarning, match="heard"):
        survey(_Warns(tmp_path))  # type: ignore[arg-type]


def test_filters_are_as_before_after_a_pass_that_failed(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(pillow(noise(4, 4), "png"))
    (source,) = sources_of(FolderRecords(tmp_path))
    list(source.batches(1))
    (tmp_path / "a.png").write_bytes(b"no image any more")
    before = list(warnings.filters)
    with pytest.raises(SourceError, match="changed while it was read") as error:
        list(source.batches(1))
    assert warnings.filters == before, error


def test_threads_that_decode_at_once_leave_the_filters_as_they_were() -> None:
    before = list(warnings.filters)
    first, second = quiet_decoders(), quiet_decoders()
    first.__enter__()
    thread = threading.Thread(target=second.__enter__)
    thread.start()
    thread.join()
    first.__exit__(None, None, None)
    assert warnings.filters != before
    second.__exit__(None, None, None)
    assert warnings.filters == before
