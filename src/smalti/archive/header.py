"""What an archive holds, in canonical JSON, with the meaning of every field checked."""

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from smalti.archive.limits import Limits
from smalti.errors import DamagedArchiveError, UnsupportedArchiveError

__all__ = ["Header", "canonical_json", "parse_canonical_json"]

DECODER = "study-float32"
MAX_CODES = 1 << 16
MAX_BLOCK_IMAGES = 1 << 16


@dataclass(frozen=True)
class Header:
    """The header section; fields as in docs/format.md. `provenance` is sorted pairs of strings.

    Raises DamagedArchiveError if the fields contradict each other.
    """

    images: int
    image_shape: tuple[int, int, int]
    padded_shape: tuple[int, int]
    token_grid: tuple[int, int]
    codebook_size: int
    codes_used: int
    perplexity: float
    block_images: int
    profile: str
    provenance: tuple[tuple[str, str], ...]
    dtype: str = "uint8"
    decoder: str = DECODER

    def __post_init__(self) -> None:
        height, width, channels = self.image_shape
        rules = {
            "images": 1 <= self.images < 1 << 48,
            "image_shape": min(height, width) >= 1 and 1 <= channels <= 4,
            "token_grid": min(self.token_grid) >= 1,
            "padded_shape": self.padded_shape == (4 * self.token_grid[0], 4 * self.token_grid[1])
            and height <= self.padded_shape[0]
            and width <= self.padded_shape[1],
            "codebook_size": 2 <= self.codebook_size <= MAX_CODES,
            "codes_used": 1 <= self.codes_used <= self.codebook_size,
            "perplexity": math.isfinite(self.perplexity) and 0.999 <= self.perplexity <= self.codes_used + 1e-3,
            "block_images": 1 <= self.block_images <= MAX_BLOCK_IMAGES,
        }
        broken = [name for name, holds in rules.items() if not holds]
        if broken:
            raise DamagedArchiveError(f"header: {broken[0]} is {getattr(self, broken[0])}, which cannot be")

    @property
    def tokens_per_image(self) -> int:
        """T."""
        return self.token_grid[0] * self.token_grid[1]

    @property
    def blocks(self) -> int:
        """Number of token blocks."""
        return -(-self.images // self.block_images)

    @property
    def raw_bytes(self) -> int:
        """Bytes of all images as plain uint8."""
        return self.images * math.prod(self.image_shape)

    def block_range(self, block: int) -> range:
        """The images of a token block."""
        return range(block * self.block_images, min((block + 1) * self.block_images, self.images))

    def to_bytes(self) -> bytes:
        """Canonical JSON; `from_bytes` is the inverse."""
        return canonical_json(asdict(self) | {"provenance": dict(self.provenance)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Header":
        """Parse and check; DamagedArchiveError, or UnsupportedArchiveError for a decoder or dtype not known."""
        found = parse_canonical_json(data, "header")
        if not isinstance(found, dict) or set(found) != {field.name for field in fields(cls)}:
            raise DamagedArchiveError("header: not an object with the keys of format 0")
        _check_types(found)
        if found["decoder"] != DECODER or found["dtype"] != "uint8":
            raise UnsupportedArchiveError(
                f"decoder {found['decoder']!r} for {found['dtype']!r} is not known to this release; use a newer smalti"
            )
        provenance = tuple(sorted(found.pop("provenance").items()))
        shapes: dict[str, Any] = {name: tuple(found.pop(name)) for name in _SHAPES}
        return cls(provenance=provenance, **shapes, **found)

    def check_limits(self, limits: Limits, archive_bytes: int) -> None:
        """Raise LimitExceededError if images or blocks of this size may not be allocated."""
        pixels = math.prod(self.padded_shape) * self.image_shape[2]
        limits.check("image_bytes", pixels, "an image")
        limits.check("block_bytes", 2 * self.tokens_per_image * min(self.block_images, self.images), "a token block")
        limits.check("expansion", self.raw_bytes // archive_bytes, "the expansion of this file")


_SHAPES = {"image_shape": 3, "padded_shape": 2, "token_grid": 2}
_INTEGERS = ("images", "codebook_size", "codes_used", "block_images")
_TEXTS = ("profile", "dtype", "decoder")


def _check_types(found: dict[str, Any]) -> None:
    """JSON types only; what the values mean is for Header itself."""
    provenance = found["provenance"]
    fits = (
        all(type(found[name]) is int for name in _INTEGERS)
        and all(type(found[name]) is str for name in _TEXTS)
        and type(found["perplexity"]) is float
        and all(
            type(found[name]) is list and len(found[name]) == size and all(type(n) is int for n in found[name])
            for name, size in _SHAPES.items()
        )
        and type(provenance) is dict
        and all(type(value) is str for value in provenance.values())
    )
    if not fits:
        raise DamagedArchiveError("header: a field is of the wrong type")


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
