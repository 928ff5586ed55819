"""FITS, NIfTI, MRC and NRRD files: hostile and damaged ones, order of reading, memory, libraries that are missing."""

import gzip
import io
import random
import struct
import sys
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from helpers.image_files import noise
from inputs.volume_files import fits_bytes, mrc_bytes, nifti_bytes, nrrd_bytes
from smalti.imagefiles.format import HEAD_BYTES, ImageFile, UnreadableImageError
from smalti.imagefiles.table import FORMATS, format_of, open_images

PLANES = noise(6, 30, 40)

FILES: dict[str, bytes] = {
    "FITS": fits_bytes(fits.PrimaryHDU(PLANES)),
    "FITS in tiles": fits_bytes(fits.CompImageHDU(PLANES, compression_type="GZIP_1")),
    "FITS in gzip": gzip.compress(fits_bytes(fits.PrimaryHDU(PLANES))),
    "NIfTI": nifti_bytes(PLANES.T),
    "NIfTI in gzip": gzip.compress(nifti_bytes(PLANES.T)),
    "MRC": mrc_bytes(PLANES),
    "MRC in gzip": gzip.compress(mrc_bytes(PLANES)),
    "NRRD": nrrd_bytes(PLANES.T, encoding="raw"),
    "NRRD in gzip": nrrd_bytes(PLANES.T),
}


def opened(data: bytes) -> ImageFile:
    return open_images(io.BytesIO(data))


def pixels_of(file: ImageFile) -> NDArray[np.generic]:
    return np.stack([file.image(number)[1] for number in range(len(file.headers))])


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_known_by_its_first_bytes_also_in_gzip(name: str) -> None:
    head = FILES[name][:HEAD_BYTES]
    assert [one.name for one in FORMATS if one.matches(head)] == [name.split(maxsplit=1)[0]]


@pytest.mark.parametrize("data", [bytes(2000), b"IDX" + bytes(600), b"\x1f\x8b\x08" + bytes(600), b"SIMPLE"])
def test_other_gzip_files_and_zeros_are_of_no_format(data: bytes) -> None:
    assert format_of(data[:HEAD_BYTES]) is None
    assert format_of(gzip.compress(data)[:HEAD_BYTES]) is None


@pytest.mark.parametrize("name", FILES)
def test_planes_can_be_read_in_any_order_and_twice(name: str) -> None:
    file = opened(FILES[name])
    for number in (4, 1, 1, 5, 0):
        np.testing.assert_array_equal(file.image(number)[1][..., 0], PLANES[number])
    with pytest.raises(UnreadableImageError):
        file.image(6)
    assert [header.fields for header in file.headers[1:3]] == [file.headers[1].fields, file.headers[2].fields]


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_end_in_one_reason_or_in_images(name: str) -> None:
    """Truncated files, and files with changed bytes, most of them in the header."""
    data, chance = FILES[name], random.Random(name)
    for trial in range(40):
        changed = bytearray(data)
        if trial % 4 == 0:
            changed = changed[: chance.randrange(len(changed))]
        else:
            place = chance.randrange(min(len(changed), chance.choice((400, len(changed)))))
            changed[place] = chance.randrange(256)
        try:
            file = opened(bytes(changed))
            header, pixels = file.image(0)
        except UnreadableImageError as error:
            assert str(error) and "\n" not in str(error)
        else:
            assert (header.shape, header.dtype) == (pixels.shape, pixels.dtype)


@pytest.mark.parametrize("name", [name for name in FILES if "gzip" in name])
def test_a_changed_gzip_stream_is_found_before_its_first_plane(name: str) -> None:
    changed = bytearray(FILES[name])
    changed[-5] ^= 1  # in the checksum, at the end
    file = opened(bytes(changed))
    for number in range(2):
        with pytest.raises(UnreadableImageError, match="gzip stream is cut off or changed"):
            file.image(number)


def _nifti_of(shape: tuple[int, ...]) -> bytes:
    data = bytearray(nifti_bytes(noise(4, 5, 6)))
    data[40:56] = struct.pack("<8h", len(shape), *shape, *[1] * (7 - len(shape)))
    return bytes(data)


def _fits_of(**changed: int) -> bytes:
    data = fits_bytes(fits.PrimaryHDU(PLANES))
    for name, value in changed.items():
        place = data.index(name.encode())
        data = data[: place + 10] + f"{value:>20}".encode() + data[place + 30 :]
    return data


HOSTILE: dict[str, Callable[[], bytes]] = {
    "NIfTI of many voxels": lambda: _nifti_of((32767,) * 7),
    "NIfTI of many voxels in gzip": lambda: gzip.compress(_nifti_of((32767,) * 7)),
    "NIfTI of one-pixel planes in gzip": lambda: gzip.compress(_nifti_of((1, 1, 32767, 32767))),
    "NIfTI of a negative size": lambda: _nifti_of((5, -4, 6)),
    "FITS of many pixels": lambda: _fits_of(NAXIS1=10**6, NAXIS2=10**6),
    "FITS of many planes": lambda: _fits_of(NAXIS3=10**12),
    "MRC of a long extra header": lambda: mrc_bytes(PLANES, nsymbt=2**31 - 1),
    "MRC of a negative extra header": lambda: mrc_bytes(PLANES, nsymbt=-5),
    "MRC of many planes": lambda: mrc_bytes(PLANES, nz=2**31 - 1),
    "NRRD of many planes": lambda: nrrd_bytes(PLANES.T, encoding="raw").replace(
        b"sizes: 40 30 6", b"sizes: 40 30 999999999"
    ),
    "NRRD of many planes in gzip": lambda: nrrd_bytes(PLANES.T).replace(b"sizes: 40 30 6", b"sizes: 40 30 999999999"),
    "NRRD without an end of its header": lambda: b"NRRD0004\n" + b"#" * 3_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_header_that_says_more_than_the_file_holds_takes_no_memory(name: str) -> None:
    data = HOSTILE[name]()
    opened(FILES[name.split(maxsplit=1)[0]]).image(0)  # the library is imported before memory counts
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableImageError):
            opened(data).image(0)
        assert tracemalloc.get_traced_memory()[1] < len(data) + 6_000_000
    finally:
        tracemalloc.stop()


def test_one_plane_of_a_large_file_is_in_memory_at_a_time() -> None:
    planes = np.broadcast_to(noise(400, 500), (100, 400, 500))
    for data in (gzip.compress(nifti_bytes(np.asfortranarray(planes.T)), 1), mrc_bytes(planes)):
        tracemalloc.start()
        try:
            file = opened(data)
            for number in range(100):
                assert file.image(number)[1].shape == (400, 500, 1)
            assert tracemalloc.get_traced_memory()[1] < 6_000_000  # one plane has 200,000 bytes, a block of gzip 1 MiB
        finally:
            tracemalloc.stop()


def test_bytes_behind_the_planes_are_named() -> None:
    data = mrc_bytes(PLANES) + bytes(2500)
    assert opened(data).headers[0].unread == "2,500 bytes behind its planes of 2,400 bytes each"
    assert opened(data).headers[1].unread is None
    assert opened(data[:-400]).headers[0].unread is None


def test_flags_of_imod_are_kept_for_its_bytes() -> None:
    """Old files of IMOD have unsigned bytes in mode 0, and say so by a flag; samples stay what the mode says."""
    data = bytearray(mrc_bytes(noise(5, 6).view(np.int8)))
    data[152:160] = struct.pack("<II", 1146047817, 4)
    assert opened(bytes(data)).headers[0].fields["imod_flags"] == 4


def test_an_affine_map_that_is_no_number_stays_readable() -> None:
    data = bytearray(FILES["NIfTI"])
    data[280:284] = struct.pack("<f", np.nan)  # the first number of the affine map
    assert str(opened(bytes(data)).headers[0].fields["affine"]).startswith("[[NaN, ")


@pytest.mark.parametrize(
    ("name", "module"), list({"FITS": "astropy", "NIfTI": "nibabel", "MRC": "mrcfile", "NRRD": "nrrd"}.items())
)
def test_a_missing_library_is_named_with_its_extra(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for loaded in [loaded for loaded in sys.modules if loaded.split(".")[0] == module]:
        monkeypatch.setitem(sys.modules, loaded, None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnreadableImageError, match=r'pip install "smalti\[science\]"'):
        opened(FILES[name]).image(0)
