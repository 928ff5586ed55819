"""The lists of a collection's members: the directory of a file, and the manifest (docs/collections.md)."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from smalti.archive.format.header import DTYPES, Header
from smalti.archive.format.layout import COLLECTION, SIZED, VERSION, check_version
from smalti.errors import DamagedArchiveError, UnsupportedArchiveError
from smalti.storage.canonical import canonical_json, parse_canonical_json

__all__ = [
    "MANIFEST_SUFFIX",
    "Listed",
    "MemberFacts",
    "check_sum",
    "collection_features",
    "pack_directory",
    "pack_manifest",
    "read_directory",
    "read_manifest",
]

MANIFEST_SUFFIX = ".smalti-manifest"
_FORMAT = "smalti-manifest"
_MAX_IMAGES = 1 << 48  # of a member, as in a header, and of all members together
_MAX_VALUES = 1 << 48  # of one image, so that an int64 holds the size of an array
_MAX_BYTES = 1 << 62  # of the files of a manifest together


@dataclass(frozen=True)
class MemberFacts:
    """The facts about a member that are known before it is opened. DamagedArchiveError if one is out of range.

    image_shape : of every image; if they have any sizes, the largest height and the largest width
    """

    images: int
    image_shape: tuple[int, int, int]
    dtype: str
    any_size: bool = False

    def __post_init__(self) -> None:
        height, width, channels = self.image_shape
        sound = (
            1 <= self.images < _MAX_IMAGES
            and min(height, width) >= 1
            and 1 <= channels <= 4
            and math.prod(self.image_shape) < _MAX_VALUES
            and self.dtype in DTYPES
        )
        if not sound:
            raise DamagedArchiveError(
                f"a member of {self.images} {self.dtype} images {list(self.image_shape)} cannot be"
            )

    @classmethod
    def of(cls, header: Header) -> "MemberFacts":
        """Return the facts that a header states."""
        return cls(header.images, header.image_shape, header.dtype, header.any_size)


@dataclass(frozen=True)
class Listed:
    """A member of a manifest. path : relative, inside the manifest's folder    archive_bytes : the size of that file"""

    path: str
    archive_bytes: int
    facts: MemberFacts

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.path).parts
        outside = self.path.startswith("/") or ".." in parts or "\\" in self.path or ":" in self.path or not parts
        if outside or "\0" in self.path:
            raise DamagedArchiveError(f"{self.path!r} is no path inside the folder of the manifest")
        if not 1 <= self.archive_bytes < _MAX_BYTES:
            raise DamagedArchiveError(f"{self.path}: a file of {self.archive_bytes} bytes cannot be")


def check_sum(members: Sequence[MemberFacts]) -> None:
    """Raise DamagedArchiveError if the members together hold more images than can be numbered."""
    images = sum(facts.images for facts in members)
    if images >= _MAX_IMAGES:
        raise DamagedArchiveError(f"its members cannot hold {images} images together")


def pack_directory(members: list[MemberFacts]) -> bytes:
    """The payload of the directory section. `read_directory` is the inverse."""
    listed, features = [_plain(facts) for facts in members], collection_features(members)
    return canonical_json({"format_version": VERSION, "members": listed, "required_features": features})


def collection_features(members: Sequence[MemberFacts]) -> int:
    """The required features of a collection of these members."""
    return COLLECTION | SIZED * any(facts.any_size for facts in members)


def read_directory(payload: bytes) -> list[MemberFacts]:
    """Read a directory. Raises DamagedArchiveError, UnsupportedArchiveError."""
    found = _fields(payload, "directory", {"format_version": int, "members": list, "required_features": int})
    if not 0 <= found["required_features"] < 1 << 32:
        raise DamagedArchiveError(f"directory: required_features is {found['required_features']}, which cannot be")
    check_version(found["format_version"], found["required_features"])
    facts = [_facts(_fields_of(member, "directory", _member_fields(member))) for member in found["members"]]
    if found["required_features"] != (needed := collection_features(facts)):
        raise DamagedArchiveError(f"directory: required_features is {found['required_features']}, not {needed}")
    check_sum(facts)
    return facts


def pack_manifest(members: list[Listed]) -> bytes:
    """The bytes of a manifest. `read_manifest` is the inverse."""
    listed = [{"archive_bytes": one.archive_bytes, "path": one.path, **_plain(one.facts)} for one in members]
    return canonical_json({"format": _FORMAT, "members": listed, "version": _version(members)}) + b"\n"


def read_manifest(data: bytes) -> list[Listed]:
    """Read a manifest. Raises DamagedArchiveError, UnsupportedArchiveError."""
    found = _fields(data.removesuffix(b"\n"), "manifest", {"format": str, "members": list, "version": int})
    if found["format"] != _FORMAT:
        raise DamagedArchiveError("it does not say that it is a manifest")
    if found["version"] not in (1, 2):
        raise UnsupportedArchiveError(f"a manifest of version {found['version']}; this release reads versions 1 and 2")
    if not found["members"]:
        raise DamagedArchiveError("a manifest without members")
    known = {"archive_bytes": int, "path": str}
    plain = [_fields_of(member, "manifest", known | _member_fields(member)) for member in found["members"]]
    listed = [Listed(one.pop("path"), one.pop("archive_bytes"), _facts(one)) for one in plain]
    if found["version"] != (needed := _version(listed)):
        raise DamagedArchiveError(f"a manifest of version {found['version']}, not {needed}")
    total = sum(one.archive_bytes for one in listed)
    if total >= _MAX_BYTES:
        raise DamagedArchiveError(f"its members cannot have {total} bytes together")
    check_sum([one.facts for one in listed])
    return listed


_MEMBER = {"dtype": str, "image_shape": list, "images": int}


def _version(members: Sequence[Listed]) -> int:
    """The version of a manifest: 2 if a member's images have any sizes, which older releases would not understand."""
    return 2 if any(one.facts.any_size for one in members) else 1


def _plain(facts: MemberFacts) -> dict[str, Any]:
    """The fields of a member. `any_size` is there if it is true."""
    return {name: value for name, value in asdict(facts).items() if name != "any_size" or value}


def _member_fields(found: object) -> dict[str, type]:
    """The fields that a member must have."""
    return _MEMBER | {"any_size": bool} if isinstance(found, dict) and found.get("any_size") is True else _MEMBER


def _fields(data: bytes, what: str, kinds: dict[str, type]) -> dict[str, Any]:
    return _fields_of(parse_canonical_json(data, what), what, kinds)


def _fields_of(found: object, what: str, kinds: dict[str, type]) -> dict[str, Any]:
    if not isinstance(found, dict) or {name: type(value) for name, value in found.items()} != kinds:
        raise DamagedArchiveError(f"{what}: it does not have the fields {', '.join(kinds)}")
    return found


def _facts(plain: dict[str, Any]) -> MemberFacts:
    shape = plain.pop("image_shape")
    if len(shape) != 3 or not all(type(side) is int for side in shape):
        raise DamagedArchiveError(f"{shape} is no shape of images")
    return MemberFacts(image_shape=tuple(shape), **plain)
