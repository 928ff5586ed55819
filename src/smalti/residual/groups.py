"""The corrections stream of a block: groups of images that decode alone, each with its length."""

import numpy as np

from smalti.errors import DamagedArchiveError

__all__ = ["join_groups", "split_groups"]


def join_groups(groups: list[bytes]) -> bytes:
    """One byte, the width of a length (1 to 4 bytes); the lengths; the groups, less the zeros that end them."""
    parts = [group.rstrip(b"\0") for group in groups]
    width = max(1, *((len(part).bit_length() + 7) // 8 for part in parts))
    lengths = b"".join(len(part).to_bytes(width, "little") for part in parts)
    return bytes([width]) + lengths + b"".join(parts)


def split_groups(data: bytes, groups: int) -> list[bytes]:
    """Read `groups` groups of whole words back; DamagedArchiveError if `data` are not so many."""
    width = data[0] if data else 0
    start = 1 + width * groups
    if not 1 <= width <= 4 or len(data) < start:
        raise DamagedArchiveError("corrections: the lengths of their groups do not fit")
    raw = np.zeros((groups, 4), np.uint8)
    raw[:, :width] = np.frombuffer(data, np.uint8, width * groups, 1).reshape(groups, width)
    ends = start + np.concatenate([[0], np.cumsum(raw.view("<u4").ravel(), dtype=np.int64)])
    if ends[-1] != len(data):
        raise DamagedArchiveError(f"corrections: groups of {ends[-1] - start} bytes in {len(data) - start}")
    parts = [data[begin:end] for begin, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
    if any(part.endswith(b"\0") for part in parts):
        raise DamagedArchiveError("corrections: a group ends with a zero, which no writer leaves")
    return [part + bytes(-len(part) % 4) for part in parts]
