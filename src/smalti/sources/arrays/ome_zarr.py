"""OME-Zarr (NGFF 0.4 and 0.5) by its metadata: which array is the full resolution, and what its axes are.

A group with `multiscales` is an image: its first data set is the full resolution, the others are smaller copies. Axes
are named; the last two are y and x. Label images are in `labels/`, each a group of this kind (https://ngff.openmicroscopy.org).
Only JSON and shapes are needed here; `zarr_store` reads the pixels.
"""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smalti.errors import SourceError
from smalti.images.columns import Columns, FieldValues
from smalti.sources.arrays.layout import ArrayFacts

__all__ = ["OmeImage", "find_ome_image", "plane_columns"]

_IMPLIED_AXES = "tczyx"  # before axes were named
_MAX_AXES = 5
_MAX_PLANES = 1 << 26
_CANDIDATES_SHOWN = 8

_log = logging.getLogger("smalti")


@dataclass(frozen=True)
class OmeImage:
    """An image of one to five axes.

    array : the key of the array of full resolution
    axes : the name of each axis; the last two are y and x
    channels : the name of each channel; None without names
    scale, unit : of each axis in space, if they are stated, and the scale is not 1 everywhere
    """

    array: str
    axes: tuple[str, ...]
    channels: tuple[str, ...] | None = None
    scale: Mapping[str, float] = field(default_factory=dict)
    unit: Mapping[str, str] = field(default_factory=dict)


def find_ome_image(
    groups: Mapping[str, Mapping[str, Any]], arrays: Mapping[str, ArrayFacts], key: str | None, where: str
) -> OmeImage | None:
    """Return the image that a store of OME holds, or that a key names; None for other stores.

    groups : the attributes of all groups by path, "" for the root
    key : a group with an image, or an array of one; None for the only image. Label images are named by keys alone

    A warning names label images, and arrays that belong to no image. Raises SourceError if there are several images, or
    if the metadata fit no array.
    """
    images = {path: found for path, attributes in groups.items() if (found := _multiscales(attributes)) is not None}
    if not images:
        return None
    if key is not None and key not in images:
        return _image_of_array(images, groups, arrays, key, where)
    chosen = key
    if chosen is None:
        pictures = [""] if "" in images else [path for path in images if "labels" not in path.split("/")]
        if len(pictures) != 1:
            shown = ", ".join(pictures[:_CANDIDATES_SHOWN])
            example = f"{where}::{(pictures or list(images))[0]}"
            raise SourceError(f"{where}: holds {len(pictures)} images ({shown}); name one, as in {example}")
        chosen = pictures[0]
    image = _image(images[chosen], groups[chosen], arrays, chosen, where)
    _tell_others(images, arrays, chosen, where)
    return image


def plane_columns(image: OmeImage, shape: tuple[int, ...]) -> Columns:
    """Return the columns of an image's planes, in the order of the array: the axes, and the names of channels.

    SourceError for more than 67 million planes, which no image has.
    """
    lead = shape[:-2]
    planes = math.prod(lead)
    if planes > _MAX_PLANES:
        raise SourceError(f"{image.array}: {planes:,} planes, more than an image has")
    fields: dict[str, FieldValues] = {}
    for name, numbers in zip(image.axes, np.indices(lead).reshape(len(lead), planes), strict=False):
        fields[name] = numbers
        if name == "c" and image.channels is not None:
            fields["channel"] = tuple(image.channels[number] for number in numbers.tolist())
    for name, values in (("scale", image.scale), ("unit", image.unit)):
        if values:
            fields[name] = (json.dumps(dict(values)),) * planes
    return Columns(fields=fields)


def _multiscales(attributes: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what the attributes of a group say of an image: the first of `multiscales`."""
    found = _ome(attributes).get("multiscales")
    return found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else None


def _ome(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the attributes of OME, which have a key of their own since 0.5."""
    own = attributes.get("ome")
    return own if isinstance(own, dict) else attributes


def _image_of_array(
    images: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Mapping[str, Any]],
    arrays: Mapping[str, ArrayFacts],
    key: str,
    where: str,
) -> OmeImage | None:
    """Return the image whose array a key names, of any resolution; None for an array of no image."""
    for path, found in images.items():
        sets = found.get("datasets")
        for each in sets if isinstance(sets, list) else ():
            if isinstance(each, dict) and _joined(path, each.get("path")) == key:
                return _image({**found, "datasets": [each]}, groups[path], arrays, path, where)
    return None


def _image(
    found: Mapping[str, Any], attributes: Mapping[str, Any], arrays: Mapping[str, ArrayFacts], path: str, where: str
) -> OmeImage:
    """Check what the metadata say of an image against the array."""
    named = f"{where}::{path}" if path else where
    try:
        first = found["datasets"][0]
        array = _joined(path, first["path"])
        if array not in arrays:
            raise SourceError(f"{named}: its full resolution {array!r} is missing; copy the store again")
        shape = arrays[array].shape
        stated = found.get("axes") or list(_IMPLIED_AXES)
        axes = tuple(str(axis["name"] if isinstance(axis, dict) else axis) for axis in stated)
        if len(axes) != len(shape) or len(set(axes)) < len(axes) or len(axes) > _MAX_AXES or axes[-2:] != ("y", "x"):
            raise SourceError(f"{named}: axes {', '.join(axes)} of {list(shape)}; the last two must be y and x")
        units = {axis["name"]: axis["unit"] for axis in stated if isinstance(axis, dict) and axis.get("unit")}
        scale = _scale(first, axes)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise SourceError(
            f"{named}: its metadata of OME say nothing sound ({error!r:.80}); write them again"
        ) from error
    space = [axis for axis in axes if axis in ("z", "y", "x")]
    return OmeImage(
        array,
        axes,
        _channels(_ome(attributes), dict(zip(axes, shape, strict=True)).get("c")),
        {axis: scale[axis] for axis in space if axis in scale},
        {axis: str(units[axis]) for axis in space if axis in units},
    )


def _scale(data_set: Mapping[str, Any], axes: tuple[str, ...]) -> dict[str, float]:
    for each in data_set.get("coordinateTransformations") or []:
        values = each.get("scale") if each.get("type") == "scale" else None
        if isinstance(values, list) and len(values) == len(axes) and all(isinstance(v, int | float) for v in values):
            return {} if set(values) == {1} else dict(zip(axes, map(float, values), strict=True))
    return {}


def _channels(attributes: Mapping[str, Any], count: int | None) -> tuple[str, ...] | None:
    """Return the names of channels, if each has one."""
    omero = attributes.get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(channels, list) or len(channels) != count:
        return None
    names = tuple(str(one.get("label") or "") for one in channels if isinstance(one, dict))
    return names if len(names) == count and all(names) else None


def _joined(path: str, name: object) -> str:
    return f"{path}/{name}" if path else str(name)


def _tell_others(
    images: Mapping[str, Mapping[str, Any]], arrays: Mapping[str, ArrayFacts], chosen: str, where: str
) -> None:
    """Warn of label images, and of arrays that belong to no image: neither is read."""
    known: set[str] = set()
    labels: list[str] = []
    for path, found in images.items():
        sets = found.get("datasets")
        keys = (
            [_joined(path, each.get("path")) for each in sets if isinstance(each, dict)]
            if isinstance(sets, list)
            else []
        )
        known.update(keys)
        if path != chosen and "labels" in path.split("/") and keys:
            labels.append(f"{where}::{keys[0]}")
    if labels:
        _log.warning("%s: label images are not read; give %s", where, " or ".join(labels[:_CANDIDATES_SHOWN]))
    others = [key for key in arrays if key not in known]
    if others:
        _log.warning("%s: left out, because they belong to no image: %s", where, ", ".join(others[:_CANDIDATES_SHOWN]))
