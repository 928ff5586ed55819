"""Cases of the DICOM files that pydicom ships as test data."""

import json
import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels import pixel_array

from inputs.case import Case, Pixels
from inputs.dicom_files import columns_of
from inputs.making import refused
from inputs.volume_files import stack

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"


def cases() -> list[Case]:
    """Return the cases; what pydicom reads itself is compared, or what imagecodecs reads."""
    refusals = {
        "rtdose.dcm": "32-bit samples",
        "rtplan.dcm": "no pixels in it (modality RTPLAN)",
        "MR_truncated.dcm": "62 bytes shorter",
        "JPEG2000-embedded-sequence-delimiter.dcm": "damaged",
        "dicomdirtests/DICOMDIR": "give the folder instead",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom, about files that are wrong on purpose
        made = [
            *(_shipped_case(name, raw=True) for name in _AS_STORED),
            *(_shipped_case(name, raw=False) for name in _TO_RGB),
            *(_shipped_case(name) for name in _OF_IMAGECODECS),
            _same_as("MR_small_jpeg_ls_lossless", "MR_small"),
        ]
    return [
        *made,
        *(
            refused(f"`{name}`", "shipped with pydicom", name.split("/")[-1], (SHIPPED / name).read_bytes(), words)
            for name, words in refusals.items()
        ),
    ]


_AS_STORED = [
    "693_J2KI",
    "CT_small",
    "ExplVR_BigEnd",
    "J2K_pixelrep_mismatch",
    "JPEG2000",
    "MR_small",
    "MR_small_RLE",
    "MR_small_bigendian",
    "MR_small_implicit",
    "MR_small_jp2klossless",
    "MR_small_padded",
    "SC_jpeg_no_color_transform",
    "SC_jpeg_no_color_transform_2",
    "SC_rgb_dcmtk_+eb+cr",
    "SC_rgb_gdcm_KY",
    "SC_rgb_jpeg",
    "SC_rgb_jpeg_app14_dcmd",
    "SC_rgb_jpeg_dcmd",
    "SC_rgb_rle",
    "SC_rgb_rle_16bit",
    "SC_rgb_rle_16bit_2frame",
    "SC_rgb_rle_2frame",
    "SC_rgb_small_odd",
    "SC_rgb_small_odd_big_endian",
    "SC_ybr_full_422_uncompressed",
    "examples_jpeg2k",
    "examples_overlay",
    "examples_palette",
    "examples_rgb_color",
    "image_dfl",
    "liver_1frame",
    "liver_expb_1frame",
]
_TO_RGB = [
    "SC_rgb_dcmtk_+eb+cy+n1",
    "SC_rgb_dcmtk_+eb+cy+np",
    "SC_rgb_dcmtk_+eb+cy+s4",
    "SC_rgb_jpeg_lossy_gdcm",
    "SC_rgb_small_odd_jpeg",
    "examples_ybr_color",
]
_OF_IMAGECODECS = {
    "JPEG-lossy": imagecodecs.jpeg_decode,
    "GDCMJ2K_TextGBR": imagecodecs.jpeg2k_decode,
    "JPEGLSNearLossless_08": imagecodecs.jpegls_decode,
    "JPEGLSNearLossless_16": imagecodecs.jpegls_decode,
    "SC_rgb_jls_lossy_line": imagecodecs.jpegls_decode,
    "SC_rgb_jls_lossy_sample": imagecodecs.jpegls_decode,
    "SC_rgb_jpeg_gdcm": imagecodecs.ljpeg_decode,
}


def _shipped_case(name: str, raw: bool | None = None) -> Case:
    dataset = pydicom.dcmread(SHIPPED / f"{name}.dcm")
    if raw is None:
        frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
        frames = _OF_IMAGECODECS[name](frame)[None]
    else:
        frames = np.asarray(pixel_array(dataset, raw=raw))
    return _withcolumns_of(name, dataset, frames, converted=raw is False)


def _same_as(name: str, other: str) -> Case:
    dataset = pydicom.dcmread(SHIPPED / f"{name}.dcm")
    return _withcolumns_of(name, dataset, pixel_array(pydicom.dcmread(SHIPPED / f"{other}.dcm")), converted=False)


def _withcolumns_of(name: str, dataset: Dataset, frames: Pixels, converted: bool) -> Case:
    count = int(dataset.get("NumberOfFrames") or 1)
    shape = (count, dataset.Rows, dataset.Columns, dataset.SamplesPerPixel)
    frames = frames.astype(frames.dtype.newbyteorder("=")).reshape(shape)
    fields = _fields_by_pydicom(dataset)
    if converted or dataset.PhotometricInterpretation == "YBR_RCT":
        fields["source_mode"] = str(dataset.PhotometricInterpretation)
    data = (SHIPPED / f"{name}.dcm").read_bytes()
    return stack(f"`{name}.dcm`", "shipped with pydicom", f"{name}.dcm", data, frames, **columns_of(count, fields))


def _fields_by_pydicom(dataset: Dataset) -> dict[str, object]:
    """Return the fields of one frame; of those in functional groups, where pydicom's files have them for all frames."""
    groups = dataset.get("SharedFunctionalGroupsSequence", [Dataset()])[0]
    frame = dataset.get("PerFrameFunctionalGroupsSequence", [Dataset()])[0]
    inner = [
        sequence.value[0] for part in (frame, groups) for sequence in part if sequence.VR == "SQ" and sequence.value
    ]
    fields: dict[str, object] = {}
    lists = ("PixelSpacing", "ImagerPixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
    for keyword, name, kind in (
        ("Modality", "modality", str),
        ("PhotometricInterpretation", "photometric", str),
        ("InstanceNumber", "instance_number", int),
        ("RescaleSlope", "rescale_slope", float),
        ("RescaleIntercept", "rescale_intercept", float),
        ("WindowCenter", "window_center", float),
        ("WindowWidth", "window_width", float),
        ("PixelSpacing", "pixel_spacing", list),
        ("ImagerPixelSpacing", "imager_pixel_spacing", list),
        ("SliceThickness", "slice_thickness", float),
        ("SpacingBetweenSlices", "spacing_between_slices", float),
        ("ImagePositionPatient", "image_position", list),
        ("ImageOrientationPatient", "image_orientation", list),
        ("PixelPaddingValue", "pixel_padding_value", int),
        ("BurnedInAnnotation", "burned_in_annotation", str),
    ):
        found = next((part[keyword].value for part in (dataset, *inner) if keyword in part), None)
        if found in (None, ""):
            continue
        several = isinstance(found, MultiValue)
        fields[name] = (
            json.dumps([float(part) for part in found]) if keyword in lists else kind(found[0] if several else found)
        )
    if dataset.BitsStored < max(8, dataset.BitsAllocated):
        fields["significant_bits"] = int(dataset.BitsStored)
    return fields
