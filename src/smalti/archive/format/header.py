"""The header of an archive: canonical JSON, every field checked (docs/format.md, "Header").

The header says how many images there are, of which shape and dtype, and which sections the file must have.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from smalti.archive.format.block_layout import CopiedLayout, FixedLayout, SizedLayout
from smalti.archive.format.copies import Copies
from smalti.archive.format.layout import COPIES, SIZED, VERSION, check_version
from smalti.archive.format.limits import Limits
from smalti.archive.format.sizes import Sizes
from smalti.decoders.contract import DecoderFacts
from smalti.decoders.kind import CELL_KINDS, KINDS, CellKind, DecoderKind
from smalti.decoders.layers.integer_network import PixelType
from smalti.errors import DamagedArchiveError, UnsupportedArchiveError
from smalti.images.batch import INT16, PixelDtype
from smalti.storage.canonical import canonical_json, parse_canonical_json

__all__ = ["DTYPES", "MAX_BLOCK_IMAGES", "MAX_CODES", "MAX_GRID", "ErrorBound", "Header", "decoded_type"]

DTYPES = ("uint8", "uint16", "int16")
MAX_CODES = 1 << 16
MAX_BLOCK_IMAGES = 1 << 16
MAX_GRID = (1 << 16) - 1


def decoded_type(dtype: str) -> PixelType:
    """The dtype of a decoder's pixels for images of `dtype`: uint16 for int16 too, whose pixels are 32,768 less."""
    return np.dtype(np.uint8) if dtype == "uint8" else np.dtype(np.uint16)


@dataclass(frozen=True)
class ErrorBound:
    """A bound on the error of every image: its mean squared error, of pixels scaled to 0..1, is at most `max_mse`.

    corrected : images with residuals, which are added to the decoder's output
    stored : images stored without the decoder
    """

    max_mse: float
    corrected: int
    stored: int


@dataclass(frozen=True)
class Header:
    """The fields of the header section, named as in docs/format.md.

    promise : the error bound    provenance : sorted pairs of strings
    image_shape : of every image; if they have any sizes, the largest height and the largest width

    Raises DamagedArchiveError if a field is out of range or if fields contradict each other.
    """

    images: int
    image_shape: tuple[int, int, int]
    padded_shape: tuple[int, int]
    token_grid: tuple[int, int]
    codebook_size: int
    codes_used: int
    perplexity: float
    block_images: int
    columns: tuple[str, ...]
    promise: ErrorBound | None
    profile: str
    provenance: tuple[tuple[str, str], ...]
    decoder: str
    dtype: str = "uint8"
    format_version: int = VERSION
    required_features: int = 0

    def __post_init__(self) -> None:
        height, width, channels = self.image_shape
        promise = self.promise
        rules = {
            "images": 1 <= self.images < 1 << 48,
            "image_shape": min(height, width) >= 1 and 1 <= channels <= 4,
            "token_grid": min(self.token_grid) >= 1 and max(self.token_grid) <= MAX_GRID,
            "padded_shape": height <= self.padded_shape[0] and width <= self.padded_shape[1],
            "codebook_size": 2 <= self.codebook_size <= MAX_CODES,
            "required_features": bool(self.required_features & SIZED) == self.any_size
            and not (self.has_copies and not self.any_size),
            "codes_used": (1 if self.any_size else self.kind.fewest_codes) <= self.codes_used <= self.codebook_size,
            "perplexity": math.isfinite(self.perplexity) and self._perplexity_can_be,
            "block_images": 1 <= self.block_images <= MAX_BLOCK_IMAGES,
            "columns": len(set(self.columns)) == len(self.columns),
            "promise": promise is None
            or (
                math.isfinite(promise.max_mse)
                and promise.max_mse >= 0
                and min(promise.corrected, promise.stored) >= 0
                and promise.corrected + promise.stored <= self.images
            ),
        }
        if self.any_size:
            rules |= {
                "token_grid": self.token_grid[0] == 1 and 1 <= self.token_grid[1] <= MAX_GRID,
                "padded_shape": self.padded_shape == self.image_shape[:2],
                "codebook_size": self.codebook_size == MAX_CODES,
                "block_images": self.block_images == 1,
                "promise": promise is None,
            }
        broken = [name for name, holds in rules.items() if not holds]
        if broken:
            raise DamagedArchiveError(f"header: {broken[0]} is {getattr(self, broken[0])}, which cannot be")

    @property
    def any_size(self) -> bool:
        """Whether its images have any sizes, which a section of their own lists; else they have `image_shape`."""
        return self.decoder in CELL_KINDS

    @property
    def has_copies(self) -> bool:
        """Whether some images are copies of others, which are stored once."""
        return bool(self.required_features & COPIES)

    @property
    def kind(self) -> DecoderKind:
        """The kind of its decoder, if its images have one shape."""
        return KINDS[self.decoder]

    @property
    def cell_kind(self) -> CellKind:
        """The kind of its decoder, if its images have any sizes."""
        return CELL_KINDS[self.decoder]

    @property
    def has_levels(self) -> bool:
        """Whether its tokens have levels."""
        return not self.any_size and self.kind.has_levels

    @property
    def has_own_prior(self) -> bool:
        """Whether its prior was fitted to its tokens alone; else it was given, and several archives may have it."""
        return not self.any_size and self.kind.fits_prior

    @property
    def priors(self) -> int:
        """Copies of the prior in the file."""
        return self.cell_kind.prior_copies if self.any_size else self.kind.prior_copies

    @property
    def layout(self) -> FixedLayout:
        """Which images each block holds, if its images have one shape."""
        return FixedLayout(self.images, self.block_images, self.image_shape[:2])

    @property
    def decoder_facts(self) -> DecoderFacts:
        """The fields that describe the decoder."""
        return DecoderFacts(
            channels=self.image_shape[2],
            dtype=self.pixel_type,
            padded_shape=self.padded_shape,
            token_grid=self.token_grid,
            codebook_size=self.codebook_size,
            codes_used=self.codes_used,
            block_images=min(self.block_images, self.images),
        )

    @property
    def _perplexity_can_be(self) -> bool:
        return self.perplexity == 0 if self.codes_used == 0 else 0.999 <= self.perplexity <= self.codes_used + 1e-3

    @property
    def tokens_per_image(self) -> int:
        """T, the tokens of an image."""
        return self.token_grid[0] * self.token_grid[1]

    @property
    def has_residuals(self) -> bool:
        """Whether any image has residuals or is stored without the decoder, so that there is a corrections section."""
        return self.promise is not None and self.promise.corrected + self.promise.stored > 0

    @property
    def pixel_type(self) -> PixelType:
        """The dtype of the decoder's pixels."""
        return decoded_type(self.dtype)

    @property
    def shown_type(self) -> PixelDtype:
        """`dtype` as a NumPy dtype: that of the pixels which users get."""
        return INT16 if self.is_signed else self.pixel_type

    @property
    def is_signed(self) -> bool:
        """Whether pixels are signed."""
        return self.dtype == "int16"

    @property
    def image_bytes(self) -> int:
        """Bytes of the plain pixels of one image of `image_shape`."""
        return self.pixel_type.itemsize * math.prod(self.image_shape)

    def sized_layout(self, payload: bytes, limits: Limits, archive_bytes: int) -> SizedLayout | CopiedLayout:
        """Which images each block holds, if they have any sizes. payload : of the sizes section

        Raises DamagedArchiveError if it contradicts the header, LimitExceededError if blocks may not be allocated.
        """
        copies = None
        if self.has_copies:
            copies, payload = Copies.split(payload, self.images, limits)
        sizes = Sizes.from_bytes(payload, self.images if copies is None else copies.stored, limits)
        if sizes.largest != self.image_shape[:2]:
            raise DamagedArchiveError("its largest sides are not those that the header states")
        limits.check("expansion", self.raw_bytes(sizes.pixels) // archive_bytes, "the expansion of this file")
        layout = SizedLayout(sizes, limits)
        limits.check("block_bytes", 2 * self.tokens_per_image * layout.largest_block, "a token block")
        limits.check("image_bytes", self.raw_bytes(layout.largest_block * sizes.cell**2), "a token block")
        if copies is None:
            return layout
        copied = CopiedLayout(layout, copies)
        limits.check("expansion", self.raw_bytes(copied.pixels) // archive_bytes, "the expansion of this file")
        return copied

    def raw_bytes(self, pixels: int) -> int:
        """Bytes of so many plain pixels."""
        return pixels * self.pixel_type.itemsize * self.image_shape[2]

    def to_bytes(self) -> bytes:
        """Canonical JSON. `from_bytes` is the inverse."""
        return canonical_json(asdict(self) | {"provenance": dict(self.provenance)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Header":
        """Parse and check. Raises DamagedArchiveError; UnsupportedArchiveError for what this release does not know."""
        found = parse_canonical_json(data, "header")
        if not isinstance(found, dict):
            raise DamagedArchiveError("header: not an object")
        _check_known(found)
        if set(found) != {field.name for field in fields(cls)}:
            raise DamagedArchiveError("header: not an object with the keys of format 1")
        _check_types(found)
        provenance = tuple(sorted(found.pop("provenance").items()))
        promise = found.pop("promise")
        tuples: dict[str, Any] = {name: tuple(found.pop(name)) for name in (*_SHAPES, "columns")}
        return cls(provenance=provenance, promise=None if promise is None else ErrorBound(**promise), **tuples, **found)

    def check_limits(self, limits: Limits, archive_bytes: int) -> None:
        """Raise LimitExceededError if images or blocks of this one shape may not be allocated."""
        pixels = math.prod(self.padded_shape) * self.image_shape[2]
        limits.check("image_bytes", self.pixel_type.itemsize * pixels, "an image")
        limits.check("block_bytes", 2 * self.tokens_per_image * min(self.block_images, self.images), "a token block")
        if self.has_residuals:
            limits.check("corrected_bytes", self.image_bytes * min(self.block_images, self.images), "a token block")
        limits.check("expansion", self.raw_bytes(self.layout.pixels) // archive_bytes, "the expansion of this file")


_SHAPES = {"image_shape": 3, "padded_shape": 2, "token_grid": 2}
_INTEGERS = ("images", "codebook_size", "codes_used", "block_images")
_PROMISE = {"max_mse": float, "corrected": int, "stored": int}


def _check_known(found: dict[str, Any]) -> None:
    """Refuse by name what another release may have written."""
    version, features = found.get("format_version"), found.get("required_features")
    if type(version) is not int or type(features) is not int or not 0 <= features < 1 << 32:
        raise DamagedArchiveError("header: it does not state the version of the format")
    check_version(version, features)
    decoder, dtype = found.get("decoder"), found.get("dtype")
    if type(decoder) is str and type(dtype) is str and not (decoder in (*KINDS, *CELL_KINDS) and dtype in DTYPES):
        raise UnsupportedArchiveError(
            f"decoder {decoder!r} for {dtype!r} is not known to this release; use a newer smalti"
        )


def _check_types(found: dict[str, Any]) -> None:
    """Check the JSON types alone. `Header` checks the ranges."""
    provenance, promise, columns = found["provenance"], found["promise"], found["columns"]
    fits = (
        all(type(found[name]) is int for name in _INTEGERS)
        and all(type(found[name]) is str for name in ("profile", "dtype", "decoder"))
        and type(found["perplexity"]) is float
        and all(
            type(found[name]) is list and len(found[name]) == size and all(type(n) is int for n in found[name])
            for name, size in _SHAPES.items()
        )
        and (type(columns) is list and all(type(name) is str for name in columns))
        and (type(provenance) is dict and all(type(value) is str for value in provenance.values()))
        and (promise is None or (type(promise) is dict and set(promise) == set(_PROMISE)))
        and (promise is None or all(type(promise[name]) is kind for name, kind in _PROMISE.items()))
    )
    if not fits:
        raise DamagedArchiveError("header: a field is of the wrong type")
