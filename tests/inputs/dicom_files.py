"""Cases of DICOM files that pydicom writes; imagecodecs compresses their frames."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.fileset import FileSet
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from inputs.case import Case, Made, Pixels, Value, group
from inputs.making import noise, refused, smooth, wide
from inputs.volume_files import signed, stack

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


def cases() -> list[Case]:
    return [*_samples(), *_forms(), *_compressed(), *_fields(), *_folders(), *_refused()]


def dicom_bytes(
    frames: Pixels,
    syntax: str = ExplicitVRLittleEndian,
    photometric: str | None = None,
    bits: int | None = None,
    compressed: Sequence[bytes] | None = None,
    dataset: Dataset | None = None,
    **tags: object,
) -> bytes:
    """Write frames [n, H, W] or [n, H, W, C] with pydicom.

    bits : the bits that are used of each sample; None for all
    compressed : the frames, if they are compressed
    dataset : further elements
    tags : elements by keyword, which replace those made here
    """
    colours = frames.ndim == 4
    made = dataset or Dataset()
    made.SOPClassUID, made.SOPInstanceUID, made.PatientName = CT_IMAGE, "1.2.3.4", "Doe^Jane"
    made.PatientBirthDate, made.StudyInstanceUID = "19700101", "1.2.3"
    made.Rows, made.Columns, made.SamplesPerPixel = *frames.shape[1:3], 3 if colours else 1
    made.PhotometricInterpretation = photometric or ("RGB" if colours else "MONOCHROME2")
    made.BitsAllocated = 8 * frames.itemsize
    made.BitsStored = bits or made.BitsAllocated
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, int(frames.dtype.kind == "i")
    if colours:
        made.PlanarConfiguration = 0
    if len(frames) > 1:
        made.NumberOfFrames = len(frames)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    plain = frames.astype(frames.dtype.newbyteorder(order)).tobytes()
    made.PixelData = encapsulate(list(compressed)) if compressed else plain + bytes(len(plain) % 2)
    made["PixelData"].VR = "OB" if compressed or frames.itemsize == 1 else "OW"
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(syntax)
    file = BytesIO()
    pydicom.dcmwrite(file, made, enforce_file_format=True)
    return file.getvalue()


def _case(
    what: str, frames: Pixels, data: bytes, maker: str = "pydicom", name: str = "a.dcm", **fields: object
) -> Case:
    """Return the case of a file; a field is a value of all frames, or a list of one for each."""
    photometric = "RGB" if frames.ndim == 4 else "MONOCHROME2"
    columns = columns_of(len(frames), {"photometric": photometric, **fields})
    return stack(f"DICOM, {what}", maker, name, data, frames, **columns)


def columns_of(count: int, fields: Mapping[str, object]) -> dict[str, Sequence[Value]]:
    """Return columns in the order in which smalti has them."""
    known = [*_ORDER, *(name for name in fields if name not in _ORDER)]
    frames = {"frame": list(range(count))} if count > 1 else {}
    made = {
        name: fields[name] if isinstance(fields[name], list) else [fields[name]] * count
        for name in known
        if name in fields
    }
    return {**frames, **made}  # type: ignore[dict-item]


_ORDER = ("modality", "photometric", "instance_number")


def _samples() -> list[Case]:
    twelve = wide(1, 5, 6) & 0xFFF
    marked = twelve | 0x1000 | 0x8000  # bits of overlays
    embedded = Dataset()
    embedded.add_new((0x6000, 0x0010), "US", 5)
    embedded.add_new((0x6000, 0x0102), "US", 12)
    small = noise(1, 5, 6).view(np.int8)
    negative = (signed(1, 5, 6) >> 4).astype(np.int16)
    bits = noise(3, 5, 7) & 1
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    masked = (negative & 0xFFF).astype(np.int16)
    return [
        _case("uint8", noise(1, 5, 6), dicom_bytes(noise(1, 5, 6))),
        _case("uint16", wide(1, 5, 6), dicom_bytes(wide(1, 5, 6))),
        _case("int16", signed(1, 5, 6), dicom_bytes(signed(1, 5, 6))),
        _case("int8", small.astype(np.int16), dicom_bytes(small), stored_dtype="int8"),
        _case(
            "12 bits with overlay bits above",
            twelve,
            dicom_bytes(marked, bits=12, dataset=embedded),
            significant_bits=12,
        ),
        _case("12 bits, signed, upper bits 0", negative, dicom_bytes(masked, bits=12), significant_bits=12),
        _case(
            "1 bit, 3 frames of 35 pixels",
            bits,
            dicom_bytes(bits, PixelData=packed + b"\0", BitsAllocated=1, BitsStored=1, HighBit=0),
            significant_bits=1,
        ),
        _case(
            "MONOCHROME1",
            noise(1, 5, 6),
            dicom_bytes(noise(1, 5, 6), photometric="MONOCHROME1"),
            photometric="MONOCHROME1",
        ),
        _case(
            "palette",
            noise(1, 5, 6),
            dicom_bytes(noise(1, 5, 6), photometric="PALETTE COLOR"),
            photometric="PALETTE COLOR",
        ),
    ]


def _forms() -> list[Case]:
    rgb, two = noise(1, 5, 6, 3), wide(2, 5, 6, 3)
    planes = np.moveaxis(two, 3, 1).tobytes()
    deep = signed(2, 5, 6)
    halved = noise(1, 4, 6, 3)
    halved[:, :, 1::2, 1:] = halved[:, :, ::2, 1:]
    shared = np.stack([halved[:, :, ::2, 0], halved[:, :, 1::2, 0], halved[:, :, ::2, 1], halved[:, :, ::2, 2]], 3)
    swapped = noise(1, 5, 6).reshape(-1, 2)[:, ::-1].tobytes()
    no_preamble = dicom_bytes(deep)[132:]
    return [
        _case("RGB", rgb, dicom_bytes(rgb)),
        _case("RGB of 16 bits, 2 frames, by planes", two, dicom_bytes(two, PixelData=planes, PlanarConfiguration=1)),
        _case("YBR_FULL", rgb, dicom_bytes(rgb, photometric="YBR_FULL"), photometric="YBR_FULL"),
        _case(
            "YBR_FULL_422",
            halved,
            dicom_bytes(halved, photometric="YBR_FULL_422", PixelData=shared.tobytes()),
            photometric="YBR_FULL_422",
        ),
        _case("int16, 2 frames, implicit VR", deep, dicom_bytes(deep, ImplicitVRLittleEndian)),
        _case("int16, 2 frames, big endian", deep, dicom_bytes(deep, ExplicitVRBigEndian)),
        _case(
            "uint8 as words, big endian",
            noise(1, 5, 6),
            _as_words(dicom_bytes(noise(1, 5, 6), ExplicitVRBigEndian, PixelData=swapped)),
        ),
        _case("int16, 2 frames, deflated", deep, dicom_bytes(deep, DeflatedExplicitVRLittleEndian)),
        _case("int16, 2 frames, without a preamble", deep, no_preamble, "pydicom, cut"),
        _case("the head of a TIFF file in its preamble", deep, b"II*\0" + dicom_bytes(deep)[4:], "pydicom, changed"),
    ]


def _as_words(data: bytes) -> bytes:
    return data.replace(b"\x7f\xe0\x00\x10OB", b"\x7f\xe0\x00\x10OW")


def _compressed() -> list[Case]:
    both = "pydicom, imagecodecs"
    grey, rgb, deep = smooth(40, 50, 1)[None, ..., 0], smooth(32, 48, 3)[None], signed(2, 40, 50)
    unsigned, twelve = wide(1, 40, 50), (np.arange(2000, dtype=np.uint16) * 2).reshape(1, 40, 50)
    ycc = imagecodecs.jpeg8_encode(rgb[0], level=90)
    direct = imagecodecs.jpeg8_encode(rgb[0], level=90, colorspace="RGB", outcolorspace="RGB")
    extended = imagecodecs.jpeg8_encode(twelve[0], level=95, bitspersample=12)
    lossless = [imagecodecs.jpeg8_encode(frame.view(np.uint16), lossless=True, predictor=1) for frame in deep]
    negative = (signed(1, 40, 50) >> 4).astype(np.int16)
    near = imagecodecs.jpegls_encode((negative[0] & 0xFFF).view(np.uint16))
    j2k = [imagecodecs.jpeg2k_encode(frame, level=0, codecformat="j2k", reversible=True) for frame in deep]
    turned = imagecodecs.jpeg2k_encode(rgb[0], level=0, codecformat="j2k", reversible=True)
    high = imagecodecs.htj2k_encode(unsigned[0], reversible=True)
    rle = pydicom.dcmread(BytesIO(dicom_bytes(deep)))
    rle.compress(RLELossless)
    packed = BytesIO()
    rle.save_as(packed)
    pieces = [lossless[0][:100], lossless[0][100:] + bytes(len(lossless[0]) % 2)]
    tables = dict(
        zip(("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"), encapsulate_extended(j2k), strict=True)
    )
    decoded = imagecodecs.jpeg8_decode(ycc, colorspace="YCBCR", outcolorspace="RGB")[None]
    return [
        _case(
            "JPEG, grey",
            imagecodecs.jpeg_decode(imagecodecs.jpeg8_encode(grey[0], level=90))[None],
            dicom_bytes(grey, JPEGBaseline8Bit, compressed=[imagecodecs.jpeg8_encode(grey[0], level=90)]),
            both,
        ),
        _case(
            "JPEG, YBR_FULL_422",
            decoded,
            dicom_bytes(rgb, JPEGBaseline8Bit, "YBR_FULL_422", compressed=[ycc]),
            both,
            photometric="YBR_FULL_422",
            source_mode="YBR_FULL_422",
        ),
        _case(
            "JPEG, RGB as it is",
            imagecodecs.jpeg8_decode(direct, colorspace="RGB", outcolorspace="RGB")[None],
            dicom_bytes(rgb, JPEGBaseline8Bit, compressed=[direct]),
            both,
        ),
        _case(
            "JPEG of 12 bits",
            imagecodecs.jpeg8_decode(extended)[None],
            dicom_bytes(twelve, JPEGExtended12Bit, bits=12, compressed=[extended]),
            both,
            significant_bits=12,
        ),
        _case("lossless JPEG, int16, 2 frames", deep, dicom_bytes(deep, JPEGLosslessSV1, compressed=lossless), both),
        _case(
            "lossless JPEG in two pieces",
            deep[:1],
            dicom_bytes(deep[:1], JPEGLosslessSV1, compressed=lossless[:1], PixelData=_in_pieces(pieces)),
            both,
        ),
        _case(
            "JPEG-LS, 12 bits, signed",
            negative,
            dicom_bytes(negative, JPEGLSLossless, bits=12, compressed=[near]),
            both,
            significant_bits=12,
        ),
        _case("JPEG 2000, int16, 2 frames", deep, dicom_bytes(deep, JPEG2000Lossless, compressed=j2k), both),
        _case(
            "JPEG 2000, 2 frames, extended offsets",
            deep,
            dicom_bytes(deep, JPEG2000Lossless, compressed=j2k, **tables),
            both,
        ),
        _case(
            "JPEG 2000, YBR_RCT",
            rgb,
            dicom_bytes(rgb, JPEG2000Lossless, "YBR_RCT", compressed=[turned]),
            both,
            photometric="YBR_RCT",
            source_mode="YBR_RCT",
        ),
        _case(
            "JPEG 2000 with high throughput", unsigned, dicom_bytes(unsigned, HTJ2KLossless, compressed=[high]), both
        ),
        _case("RLE, int16, 2 frames", deep, packed.getvalue()),
    ]


def _in_pieces(pieces: Sequence[bytes]) -> bytes:
    """Encapsulate one frame in several fragments, with an empty table of offsets."""
    items = [b"", *(piece + bytes(len(piece) % 2) for piece in pieces)]
    made = b"".join(b"\xfe\xff\x00\xe0" + len(item).to_bytes(4, "little") + item for item in items)
    return made + b"\xfe\xff\xdd\xe0" + bytes(4)


def _fields() -> list[Case]:
    deep = signed(1, 5, 6)
    stated = {
        "Modality": "CT",
        "InstanceNumber": 7,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "WindowCenter": [40, 400],
        "WindowWidth": [80, 2000],
        "PixelSpacing": [0.5, 0.25],
        "SliceThickness": 2.5,
        "ImagePositionPatient": [-10, 20, 30.5],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelPaddingValue": -2000,
        "BurnedInAnnotation": "NO",
    }
    kept = {
        "modality": "CT",
        "instance_number": 7,
        "rescale_slope": 1.0,
        "rescale_intercept": -1024.0,
        "window_center": 40.0,
        "window_width": 80.0,
        "pixel_spacing": "[0.5, 0.25]",
        "slice_thickness": 2.5,
        "image_position": "[-10.0, 20.0, 30.5]",
        "image_orientation": "[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]",
        "pixel_padding_value": -2000,
        "burned_in_annotation": "NO",
    }
    grouped = _enhanced([0, 5])
    return [
        _case("tags of a CT scan", deep, dicom_bytes(deep, **stated), **kept),
        _case(
            "functional groups of frames",
            signed(2, 5, 6),
            dicom_bytes(signed(2, 5, 6), dataset=grouped),
            rescale_intercept=[0.0, 5.0],
            pixel_spacing="[0.5, 0.5]",
        ),
    ]


def _enhanced(intercepts: Sequence[float]) -> Dataset:
    def item(**tags: object) -> Dataset:
        made = Dataset()
        for keyword, value in tags.items():
            setattr(made, keyword, value)
        return made

    shared = item(PixelMeasuresSequence=Items([item(PixelSpacing=[0.5, 0.5])]))
    frames = [item(PixelValueTransformationSequence=Items([item(RescaleIntercept=value)])) for value in intercepts]
    return item(SharedFunctionalGroupsSequence=Items([shared]), PerFrameFunctionalGroupsSequence=Items(frames))


def _folders() -> list[Case]:
    return [
        Case("a folder of DICOM files without suffixes, and their DICOMDIR", "pydicom", _directory),
        Case("the DICOMDIR itself, for its folder", "pydicom", _directory_file),
    ]


def _directory(root: Path) -> Made:
    slices = signed(3, 5, 6)
    files = FileSet()
    for number, pixels in enumerate(slices):
        data = dicom_bytes(
            pixels[None],
            SOPInstanceUID=f"1.2.3.{number}",
            PatientID="1",
            Modality="CT",
            StudyDate="20200101",
            StudyTime="120000",
            StudyID="1",
            SeriesInstanceUID="1.2.9",
            SeriesNumber=1,
            InstanceNumber=number,
        )
        files.add(pydicom.dcmread(BytesIO(data)))
    files.write(root)
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("IM*"))
    numbers = [int(pydicom.dcmread(root / name).InstanceNumber) for name in names]
    columns = columns_of(3, {"photometric": "MONOCHROME2", "modality": "CT", "instance_number": numbers})
    del columns["frame"]
    made = group(slices[numbers], names=names, fields=columns)
    return Made(root, [made], {"DICOMDIR": "give the folder instead"})


def _directory_file(root: Path) -> Made:
    return replace(_directory(root), spec=root / "DICOMDIR")


def _refused() -> list[Case]:
    grey, deep = noise(1, 5, 6), wide(1, 40, 50)
    report = Dataset()
    report.Modality = "SR"
    j2k = imagecodecs.jpeg2k_encode(deep[0], level=0, codecformat="j2k", reversible=True)
    whole = dicom_bytes(deep)

    def case(what: str, data: bytes, words: str) -> Case:
        return refused(f"DICOM, {what}", "pydicom", "a.dcm", data, words)

    return [
        case("32 bits", dicom_bytes(np.ones((1, 5, 6), np.uint32)), "32-bit samples"),
        case("float pixels", _float_pixels(), "float pixels"),
        case("no pixels", _without_pixels(report), "no pixels in it (modality SR)"),
        case(
            "video",
            dicom_bytes(grey, MPEG2MPML, compressed=[bytes(200)]),
            "compressed in a way that is not read (MPEG2",
        ),
        case("samples in the high bits", dicom_bytes(deep, bits=12, HighBit=15), "high bit 15"),
        case("four samples a pixel", dicom_bytes(noise(1, 5, 6, 4), SamplesPerPixel=4), "4 samples"),
        case("cut in half", whole[: len(whole) // 2], "shorter"),
        case(
            "more frames than there are",
            dicom_bytes(deep, JPEG2000Lossless, compressed=[j2k], NumberOfFrames=9),
            "1 compressed frames",
        ),
        case(
            "a frame of another size",
            dicom_bytes(deep, JPEG2000Lossless, compressed=[j2k], Rows=39),
            "a frame of [40, 50, 1]",
        ),
        case("1,000,000,000 pixels stated", dicom_bytes(deep, Rows=40000, Columns=25000), "too many pixels"),
    ]


def _without_pixels(dataset: Dataset) -> bytes:
    made = pydicom.dcmread(BytesIO(dicom_bytes(noise(1, 5, 6), dataset=dataset)))
    del made.PixelData
    return _saved(made)


def _float_pixels() -> bytes:
    made = pydicom.dcmread(BytesIO(dicom_bytes(noise(1, 5, 6))))
    del made.PixelData
    made.FloatPixelData = np.ones((5, 6), np.float32).tobytes()
    return _saved(made)


def _saved(dataset: FileDataset) -> bytes:
    file = BytesIO()
    dataset.save_as(file)
    return file.getvalue()
