"""DICOM files: nothing about a person is kept, one decoder agrees with others, hostile and damaged files, memory."""

import io
import random
import sys
import tracemalloc
from collections.abc import Callable

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from helpers.image_files import noise
from inputs.dicom_files import dicom_bytes
from inputs.making import smooth
from inputs.shipped_dicom import SHIPPED
from smalti.imagefiles.format import HEAD_BYTES, ImageFile, UnreadableImageError
from smalti.imagefiles.scientific.dicom_fields import DICOM_FIELDS, KEPT_TAGS
from smalti.imagefiles.table import format_of, open_images

DEEP = np.random.default_rng(0).integers(-2000, 2000, (3, 30, 40)).astype(np.int16)
RGB = smooth(32, 48, 3)[None]


def opened(data: bytes) -> ImageFile:
    return open_images(io.BytesIO(data))


def _rle() -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(DEEP)))
    dataset.compress(RLELossless)
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def _jpeg_frames(encode: Callable[[np.ndarray], bytes]) -> list[bytes]:
    return [encode(frame) for frame in DEEP]


FILES: dict[str, bytes] = {
    "plain": dicom_bytes(DEEP),
    "deflated": dicom_bytes(DEEP, DeflatedExplicitVRLittleEndian),
    "without a preamble": dicom_bytes(DEEP)[132:],
    "RLE": _rle(),
    "JPEG": dicom_bytes(RGB, JPEGBaseline8Bit, "YBR_FULL_422", compressed=[imagecodecs.jpeg8_encode(RGB[0], level=90)]),
    "lossless JPEG": dicom_bytes(
        DEEP,
        JPEGLosslessSV1,
        compressed=_jpeg_frames(
            lambda frame: imagecodecs.jpeg8_encode(frame.view(np.uint16), lossless=True, predictor=1)
        ),
    ),
    "JPEG-LS": dicom_bytes(
        DEEP, JPEGLSLossless, compressed=_jpeg_frames(lambda frame: imagecodecs.jpegls_encode(frame.view(np.uint16)))
    ),
    "JPEG 2000": dicom_bytes(
        DEEP,
        JPEG2000Lossless,
        compressed=_jpeg_frames(
            lambda frame: imagecodecs.jpeg2k_encode(frame, level=0, codecformat="j2k", reversible=True)
        ),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_frames_can_be_read_in_any_order_and_twice(name: str) -> None:
    file = opened(FILES[name])
    found = {number: file.image(number)[1] for number in (2, 0, 0, 1) if number < len(file.headers)}
    if name != "JPEG":
        np.testing.assert_array_equal(np.stack([found[number][..., 0] for number in range(3)]), DEEP)
    with pytest.raises(UnreadableImageError):
        file.image(len(file.headers))
    assert len(list(file.headers)) == len(file.headers)


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_end_in_one_reason_or_in_images(name: str) -> None:
    data, chance = FILES[name], random.Random(name)
    for trial in range(40):
        changed = bytearray(data)
        if trial % 4 == 0:
            changed = changed[: chance.randrange(len(changed))]
        else:
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        try:
            header, pixels = opened(bytes(changed)).image(0)
        except UnreadableImageError as error:
            assert str(error) and "\n" not in str(error)
        else:
            assert (header.shape, header.dtype) == (pixels.shape, pixels.dtype)


@pytest.mark.parametrize("name", ["JPEG", "lossless JPEG", "JPEG-LS", "JPEG 2000"])
def test_half_a_frame_is_refused(name: str) -> None:
    dataset = pydicom.dcmread(io.BytesIO(FILES[name]))
    count = int(dataset.get("NumberOfFrames") or 1)
    frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=count))
    frames[0] = frames[0][: len(frames[0]) // 4 * 2]
    dataset.PixelData = pydicom.encaps.encapsulate(frames)
    file = io.BytesIO()
    dataset.save_as(file)
    with pytest.raises(UnreadableImageError, match="a compressed frame that is cut off"):
        opened(file.getvalue()).image(0)


def test_no_tag_about_a_person_is_kept() -> None:
    """The names of the tags that are kept, against words of those that the standard lists for removal (PS3.15)."""
    assert set(DICOM_FIELDS) == {name for name, _, _ in KEPT_TAGS.values()}
    about_persons = (
        "Name",
        "Date",
        "Time",
        "UID",
        "ID",
        "Physician",
        "Institution",
        "Address",
        "Comments",
        "Description",
        "Age",
    )
    for keyword in KEPT_TAGS:
        assert not any(keyword.endswith(word) for word in about_persons), keyword
    header = opened(FILES["plain"]).headers[0]
    kept = " ".join(f"{name} {value}" for name, value in header.fields.items())
    assert not any(secret in kept for secret in ("Doe", "Jane", "19700101", "1.2.3"))


def test_a_text_that_is_no_code_is_left_out() -> None:
    data = dicom_bytes(DEEP, Modality="Scan of Jane Doe")
    assert "modality" not in opened(data).headers[0].fields


def test_a_tag_with_another_kind_of_value_is_left_out() -> None:
    data = bytearray(dicom_bytes(DEEP, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40))
    data[data.index(b"-1024") : data.index(b"-1024") + 5] = b"a;b;c"
    fields = opened(bytes(data)).headers[0].fields
    assert "rescale_intercept" not in fields and fields["window_center"] == 40


@pytest.mark.parametrize("name", ["SC_rgb_jpeg_gdcm"])
def test_lossless_jpeg_is_what_other_decoders_say(name: str) -> None:
    data = (SHIPPED / f"{name}.dcm").read_bytes()
    frame = next(pydicom.encaps.generate_frames(pydicom.dcmread(io.BytesIO(data)).PixelData, number_of_frames=1))
    pixels = opened(data).image(0)[1]
    for decode in (imagecodecs.ljpeg_decode, imagecodecs.jpegsof3_decode):
        np.testing.assert_array_equal(pixels, decode(frame))


def test_markers_decide_about_the_colours_of_a_jpeg() -> None:
    """Without JFIF and Adobe markers, the DICOM file says whether colours were turned."""
    ycc = imagecodecs.jpeg8_encode(RGB[0], level=95)
    bare = ycc[:2] + ycc[2 + 2 + int.from_bytes(ycc[4:6]) :] if ycc[2:4] == b"\xff\xe0" else ycc
    assert b"JFIF" not in bare and b"Adobe" not in bare
    turned = opened(dicom_bytes(RGB, JPEGBaseline8Bit, "YBR_FULL", compressed=[bare])).image(0)[1]
    stored = opened(dicom_bytes(RGB, JPEGBaseline8Bit, "RGB", compressed=[bare])).image(0)[1]
    np.testing.assert_array_equal(turned, imagecodecs.jpeg8_decode(ycc))
    np.testing.assert_array_equal(stored, imagecodecs.jpeg8_decode(bare, colorspace="RGB", outcolorspace="RGB"))
    assert np.abs(stored.astype(int) - RGB[0]).max() > 50
    marked = opened(dicom_bytes(RGB, JPEGBaseline8Bit, "RGB", compressed=[ycc])).image(0)[1]
    np.testing.assert_array_equal(marked, turned)


def test_an_adobe_marker_counts_once() -> None:
    """Where it says that colours were turned, they are turned back once (pydicom 3.0.2 does it twice)."""
    ycc = imagecodecs.jpeg8_encode(RGB[0], level=95, subsampling="444")
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01"
    marked = ycc[:2] + adobe + ycc[4 + int.from_bytes(ycc[4:6]) :]
    for photometric in ("YBR_FULL", "RGB"):
        found = opened(dicom_bytes(RGB, JPEGBaseline8Bit, photometric, compressed=[marked])).image(0)[1]
        np.testing.assert_array_equal(found, imagecodecs.jpeg8_decode(ycc))


def test_one_frame_is_in_memory_at_a_time() -> None:
    frames = np.broadcast_to(noise(400, 500), (60, 400, 500))
    deflated = dicom_bytes(frames, DeflatedExplicitVRLittleEndian)
    for data in (dicom_bytes(frames), deflated):
        opened(data).image(0)
        tracemalloc.start()
        try:
            file = opened(data)
            for number in range(60):
                assert file.image(number)[1].shape == (400, 500, 1)
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()


def test_more_bytes_and_frames_than_stated_are_named() -> None:
    longer = dicom_bytes(DEEP, PixelData=DEEP.tobytes() + bytes(2400))
    assert opened(longer).headers[0].unread == "2,400 bytes behind its 3 frames of 2,400 bytes each"
    fewer = dicom_bytes(
        DEEP[:2], JPEGLSLossless, compressed=[imagecodecs.jpegls_encode(frame.view(np.uint16)) for frame in DEEP]
    )
    assert opened(fewer).headers[0].unread == "1 frames more than its header says"


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small.dcm", "examples_rgb_color.dcm", "image_dfl.dcm", "rtplan.dcm"]
)
def test_files_are_known_by_their_first_bytes(name: str) -> None:
    """Some have the head of a TIFF file in the 128 bytes that the standard leaves free."""
    found = format_of((SHIPPED / name).read_bytes()[:HEAD_BYTES])
    assert found is not None and found.name == "DICOM"


def test_without_pydicom_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UnreadableImageError, match=r'pip install "smalti\[science\]"'):
        opened(FILES["plain"])


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    for path in sorted(SHIPPED.glob("*.dcm")):
        try:
            opened(path.read_bytes()).image(0)
        except UnreadableImageError:
            continue
    assert capfd.readouterr() == ("", "")
