"""The tags of a DICOM file that are kept as fields: what a viewer needs to show samples, and nothing about a person.

This list is all that is kept: no name, date, place, number or UID. (Where a tag belongs to functional groups, those of
the frame count before those that all frames share.)
"""

import json
import math
import re
from collections.abc import Callable
from typing import Any

from smalti.images.batch import Scalar

__all__ = ["DICOM_FIELDS", "GROUPS_OF_FRAMES", "KEPT_TAGS", "fields_of_frame"]

GROUPS_OF_FRAMES = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")


def _text(value: Any) -> str | None:
    """Return a code as the standard has them, 16 letters at most; None for any other text, which may name somebody."""
    code = str(value).strip()
    return code if re.fullmatch(r"[A-Z0-9_ ]{1,16}", code) else None


def _whole(value: Any) -> int | None:
    return int(value)


def _number(value: Any) -> float | None:
    """Return a number; of several, which are alternatives, the first."""
    first = value if isinstance(value, int | float | str) else value[0]
    return float(first) if math.isfinite(float(first)) else None


def _numbers(value: Any) -> str | None:
    """Return several numbers as a JSON text."""
    parts = [float(part) for part in ([value] if isinstance(value, int | float | str) else value)]
    return json.dumps(parts) if parts and all(math.isfinite(part) for part in parts) else None


KEPT_TAGS: dict[str, tuple[str, Callable[[Any], Scalar | None], str | None]] = {
    "Modality": ("modality", _text, None),
    "PhotometricInterpretation": ("photometric", _text, None),
    "InstanceNumber": ("instance_number", _whole, None),
    "RescaleSlope": ("rescale_slope", _number, "PixelValueTransformationSequence"),
    "RescaleIntercept": ("rescale_intercept", _number, "PixelValueTransformationSequence"),
    "WindowCenter": ("window_center", _number, "FrameVOILUTSequence"),
    "WindowWidth": ("window_width", _number, "FrameVOILUTSequence"),
    "PixelSpacing": ("pixel_spacing", _numbers, "PixelMeasuresSequence"),
    "ImagerPixelSpacing": ("imager_pixel_spacing", _numbers, None),
    "SliceThickness": ("slice_thickness", _number, "PixelMeasuresSequence"),
    "SpacingBetweenSlices": ("spacing_between_slices", _number, "PixelMeasuresSequence"),
    "ImagePositionPatient": ("image_position", _numbers, "PlanePositionSequence"),
    "ImageOrientationPatient": ("image_orientation", _numbers, "PlaneOrientationSequence"),
    "PixelPaddingValue": ("pixel_padding_value", _whole, None),
    "BurnedInAnnotation": ("burned_in_annotation", _text, None),
}
"""By keyword of the tag: the name of its field, how it is read, and the functional groups that may have it."""

DICOM_FIELDS = tuple(name for name, _, _ in KEPT_TAGS.values())


def fields_of_frame(dataset: Any, frame: int) -> dict[str, Scalar]:
    """Return the fields of a frame. A tag whose value is no such number or text is left out."""
    fields: dict[str, Scalar] = {}
    for keyword, (name, read, sequence) in KEPT_TAGS.items():
        try:
            value = _value(dataset, keyword, sequence, frame)
            made = None if value is None or value == "" else read(value)
        except (TypeError, ValueError, IndexError, OverflowError):
            continue
        if made is not None:
            fields[name] = made
    return fields


def _value(dataset: Any, keyword: str, sequence: str | None, frame: int) -> Any:
    found = dataset.get(keyword)
    if found is not None or sequence is None:
        return found
    for groups in GROUPS_OF_FRAMES:
        items = dataset.get(groups) or ()
        place = frame if groups.startswith("PerFrame") else 0
        if place < len(items) and (measures := items[place].get(sequence)):
            found = measures[0].get(keyword)
            if found is not None:
                return found
    return None
