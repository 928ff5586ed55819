"""Safe file names for images, made from names that may come from anybody.

An archive may come from anybody, so its names are data. A name is refused if it could lead out of the folder, or if a
system does not read it as the name of a file.

Layer: within `images`, above `batch`.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from smalti.errors import SmaltiError
from smalti.images.batch import INT16

__all__ = [
    "checked_name",
    "file_name_of",
    "image_suffix",
    "is_safe_name",
    "numbered_name",
    "spare_names",
    "without_number",
]

_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{device}{number}" for device in ("com", "lpt") for number in (*"0123456789", *"¹²³")}
)
_NUMBERED = re.compile(r"(.*\.[^./#]+)(#[0-9]+)", re.DOTALL)
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f\\:"<>|?*]')


def checked_name(name: str) -> str:
    """The name, if it is a relative POSIX path that stays inside a folder on every system; else SmaltiError.

    It refuses absolute paths, drive letters, backslashes, `..`, empty and hidden parts, control characters, and the
    names that Windows reserves: devices such as `aux`, the characters `: " < > | ? *`, a dot or space at the end.
    """
    reason = _objection(name)
    if reason is not None:
        raise SmaltiError(f"name {name!r} {reason}, so no file is made of it; write .npy or .tar instead")
    return name


def is_safe_name(name: str) -> bool:
    """Whether `checked_name` accepts the name."""
    return _objection(name) is None


def image_suffix(dtype: "np.dtype[Any]") -> str:
    """The suffix of a file of one image: `.png`, or `.tif` for signed samples, which PNG cannot hold."""
    return ".tif" if dtype == INT16 else ".png"


def file_name_of(name: str, suffix: str) -> str:
    """The name with this suffix, such as `.png`, in place of its own; unchanged if it ends with it in any case.

    The name of an image of a stack, `a.tif#7`, becomes `a#7.png`.
    """
    name, number = without_number(name)
    path = PurePosixPath(name)
    if number:
        return str(path.with_name(f"{path.stem}{number}{suffix}"))
    return name if path.suffix.lower() == suffix else str(path.with_suffix(suffix))


def without_number(name: str) -> tuple[str, str]:
    """Split the name of an image of a file of several images, `a.tif#7`: `a.tif` and `#7`; other names and ""."""
    found = _NUMBERED.fullmatch(name)
    return (found[1], found[2]) if found else (name, "")


def spare_names(name: str, suffix: str) -> Iterator[str]:
    """Names for a file whose usual name is in use, the best first: `b.jpg.png`, then `b.jpg.2.png`, without end."""
    yield f"{name}{suffix}"
    yield from (f"{name}.{number}{suffix}" for number in itertools.count(2))


def numbered_name(index: int, images: int, folder: str | None, suffix: str = ".png") -> str:
    """`000042.png`, in a folder if one is given, with enough digits that names sort by their numbers."""
    width = max(6, len(str(max(images, 1) - 1)))
    name = f"{index:0{width}}{suffix}"
    return name if folder is None else f"{folder}/{name}"


def _objection(name: str) -> str | None:
    """What is wrong with a name, as words that follow the name in a message, or None."""
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return "is an absolute path"
    if _FORBIDDEN.search(name):
        return "holds a character that not every system allows in names"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "is not valid Unicode"
    return next(filter(None, map(_part_objection, name.split("/"))), None)


def _part_objection(part: str) -> str | None:
    if part == "..":
        return "leads out of the folder"
    if part == "" or part.startswith("."):
        return "has an empty or hidden part"
    if part.endswith((".", " ")) or part.split(".", maxsplit=1)[0].rstrip().lower() in _DEVICES:
        return f"has a part that is reserved on some systems ({part!r})"
    return None
