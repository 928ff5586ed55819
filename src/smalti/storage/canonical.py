"""Canonical JSON: one value, one string of bytes. What a smalti file says in words is written in it.

Layer: beside `files`, above `errors`; what the values mean is for the callers.
"""

import json
from typing import Any

from smalti.errors import DamagedArchiveError

__all__ = ["canonical_json", "parse_canonical_json"]


def canonical_json(value: object) -> bytes:
    """UTF-8, sorted keys, no spaces: one value, one string of bytes."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def parse_canonical_json(data: bytes, what: str) -> Any:
    """Parse canonical JSON; DamagedArchiveError if `data` are anything else (`what` names the place)."""
    try:
        value = json.loads(data.decode("utf-8"))
        if canonical_json(value) == data:
            return value
    except (ValueError, RecursionError):  # ValueError: not UTF-8, not JSON, NaN, an integer of thousands of digits
        pass
    raise DamagedArchiveError(f"{what}: not canonical JSON")
