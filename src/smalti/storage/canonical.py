"""Canonical JSON, in which a value has exactly one form in bytes. A smalti file stores its metadata in it.

It does not know what the values mean. Layer: within `storage`, above `errors` alone.
"""

import json
from typing import Any

from smalti.errors import DamagedArchiveError

__all__ = ["canonical_json", "parse_canonical_json"]


def canonical_json(value: object) -> bytes:
    """Serialise with sorted keys and no spaces, as UTF-8. Equal values give equal bytes."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def parse_canonical_json(data: bytes, what: str) -> Any:
    """Parse canonical JSON. Raises DamagedArchiveError, which names `what`, if `data` is anything else."""
    try:
        value = json.loads(data.decode("utf-8"))
        if canonical_json(value) == data:
            return value
    except (ValueError, RecursionError):  # ValueError: not UTF-8, not JSON, NaN, an integer of thousands of digits
        pass
    raise DamagedArchiveError(f"{what}: not canonical JSON")
