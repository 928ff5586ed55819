"""What a decoder kind is told, and what it gives. Layers above use these protocols and never ask for a kind's name.

reading   DecoderFacts, DecoderLimits ──► ImageModel ──► Prior
writing   TokenSpec ──► WriterModel, and Tokens ──► ImageModel, Prior
sharing   ImageModel ──► SharedModel

Checks that decoder kinds share: whether a network is the one that a header or a writer speaks of, and its cost.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.layers.integer_network import Layer, PixelType
from smalti.errors import DamagedArchiveError, ModelError, UsageError
from smalti.images.batch import Pixels

__all__ = [
    "DecoderFacts",
    "DecoderLimits",
    "ImageModel",
    "LevelInfo",
    "Network",
    "Pair",
    "Prior",
    "SharedModel",
    "TokenSpec",
    "Tokens",
    "WriterModel",
    "check_codes",
    "check_fit",
    "check_pixels",
    "operations",
]


Pair = tuple[int, int]
"""Rows and columns."""


@dataclass(frozen=True)
class TokenSpec:
    """What the images and tokens of an archive are, known before its first image.

    image_shape : (H, W, C), the top left of what the decoder makes    dtype : of pixels, "uint8" or "uint16"
    token_grid : (h, w) tokens of an image
    codebook_size : K, the number of all codes
    """

    image_shape: tuple[int, int, int]
    token_grid: Pair
    codebook_size: int
    dtype: str


@dataclass(frozen=True)
class DecoderFacts:
    """What the header of an archive says of its decoder.

    channels : C    dtype : of pixels    padded_shape : rows and columns of the images that the decoder makes
    token_grid : (h, w) tokens of an image
    codebook_size : K, the number of all codes    codes_used : how many of them occur
    block_images : the most images in a token block
    """

    channels: int
    dtype: PixelType
    padded_shape: Pair
    token_grid: Pair
    codebook_size: int
    codes_used: int
    block_images: int


class DecoderLimits(Protocol):
    """What a decoder may make its reader allocate and compute."""

    @property
    def model_bytes(self) -> int:
        """Bytes of the unpacked numbers of a network."""

    def check(self, limit: str, asked: int, what: str) -> None:
        """Raise LimitExceededError if `asked` is above the limit of this name; `what` says what asks for it.

        Kinds check "network_operations" (products and sums that one image takes) and "block_bytes".
        """


@dataclass(frozen=True)
class LevelInfo:
    """A level of tokens: the number of its scale, its grid (h, w), its positions h * w, and how many codes it has."""

    scale: int
    grid: Pair
    positions: int
    codes: int


class Network(Protocol):
    """The numbers of a decoder, as a writer is given them."""

    @property
    def kind(self) -> str:
        """The name of its DecoderKind."""

    @property
    def codes(self) -> int:
        """The number of codes that it knows."""

    @property
    def channels(self) -> int:
        """C, channels of an image."""

    @property
    def dtype(self) -> PixelType:
        """Of the pixels: uint8 or uint16."""

    def output_size(self, grid: Pair) -> Pair:
        """Rows and columns of an image for the grid that it begins with; ModelError if that does not fit it."""


class Prior(Protocol):
    """What the tokens of a block are coded with, for indices uint16 [n, T]."""

    @property
    def operations(self) -> int:
        """Products, sums and look-ups that coding one image takes."""

    def encode(self, tokens: NDArray[np.integer]) -> bytes:
        """Code tokens."""

    def decode(self, data: bytes, images: int) -> NDArray[np.uint16]:
        """Read them back; DamagedArchiveError."""

    def to_bytes(self) -> bytes:
        """The payload of the prior section."""


class Tokens(Protocol):
    """Tokens of images in order.

    counts : int64 [K], how often each code stands anywhere
    images : how many there are    tokens_per_image : T
    """

    counts: NDArray[np.int64]
    images: int
    tokens_per_image: int

    def read(self, piece_images: int) -> Iterator[NDArray[np.uint16]]:
        """All images from the first, `piece_images` at a time: uint16 [n, T]."""

    def position_counts(self, ranks: NDArray[np.uint16], codes: int) -> NDArray[np.int64]:
        """How often each code stands at each position: int64 [T, codes]; `ranks` [K] numbers the codes in use."""


class ImageModel(Protocol):
    """A decoder, ready to run, and the meaning of indices as they are stored; safe to use from several threads.

    code_ids : uint16, the number in [0, K) of each index; an absent token stays what it is
    """

    code_ids: NDArray[np.uint16]

    @property
    def kind(self) -> str:
        """The name of its DecoderKind, which the header states."""

    @property
    def network(self) -> Network:
        """Its numbers."""

    @property
    def levels(self) -> tuple[LevelInfo, ...] | None:
        """Its levels of tokens, None if it knows no levels."""

    @property
    def grid(self) -> Pair:
        """Rows and columns that the network begins with: of the tokens, or of a pyramid's canvas."""

    @property
    def padded_shape(self) -> Pair:
        """Rows and columns that it makes."""

    def decode(self, indices: NDArray[np.uint16], threads: int, levels: int | None) -> Pixels:
        """Pixels [n, H', W', C] of indices [n, T], of the first `levels` levels alone unless that is None."""

    def read_prior(self, data: bytes) -> Prior:
        """The prior from its payload; DamagedArchiveError, UnsupportedArchiveError."""

    def to_bytes(self) -> bytes:
        """The payload of the model section."""

    def whole_network(self) -> Network:
        """The network for all K codes, as a writer takes it; codes that are not stored give nothing."""

    def share_key(self) -> bytes:
        """Equal for models of a kind that differ in nothing but the codes in use."""

    def sharing(self) -> "SharedModel":
        """A model that this one shares with others."""


class SharedModel(Protocol):
    """One model that stands for those of several archives. It holds no decoder that is ready to run."""

    def add(self, model: ImageModel) -> bool:
        """Take in a model of the same kind and share key; False, and nothing changes, if it contradicts the others."""

    @property
    def model(self) -> ImageModel:
        """The model, with the codes of all."""

    def reference(self, code_ids: NDArray[np.uint16]) -> bytes:
        """What an archive keeps of its own model, which was taken in, beside the name of the shared one.

        code_ids : of its own model. `DecoderKind.unpack_shared` reads the bytes.
        """


class WriterModel(Protocol):
    """A decoder for the tokens that a writer is given."""

    @property
    def block_images(self) -> int:
        """Images in a token block, unless the writer is told otherwise or they have too many pixels."""

    def check(self, tokens: NDArray[np.integer]) -> None:
        """UsageError if these are not tokens [n, T] of the decoder."""

    def stored(self, tokens: Tokens) -> tuple[ImageModel, Prior]:
        """What the file will hold, once all tokens are known."""


# was sibling import


def check_codes(codes: int, stated: int) -> None:
    """DamagedArchiveError if a network has another number of codes than the header states."""
    if codes != stated:
        raise DamagedArchiveError(f"it holds {codes} codes, not the {stated} that the header states")


def check_pixels(network: Network, grid: Pair, facts: DecoderFacts) -> None:
    """DamagedArchiveError if a network makes other images of its grid than the header states."""
    if network.channels != facts.channels:
        raise DamagedArchiveError(f"it makes {network.channels} channels, not {facts.channels}")
    if (size := network.output_size(grid)) != facts.padded_shape:
        raise DamagedArchiveError(f"it makes images of {list(size)}, not {list(facts.padded_shape)}")


def check_fit(spec: TokenSpec, network: Network, grid: Pair) -> None:
    """UsageError if a network does not make the images that a writer is to write. grid : what it begins with"""
    if network.codes != spec.codebook_size or network.channels != spec.image_shape[2]:
        raise UsageError(
            f"a decoder of {network.codes} codes and {network.channels} channels, the archive is to have "
            f"{spec.codebook_size} and {spec.image_shape[2]}"
        )
    if network.dtype != spec.dtype:
        raise UsageError(f"a decoder that makes pixels of {network.dtype}, the archive is to have {spec.dtype}")
    try:
        height, width = network.output_size(grid)
    except ModelError as error:
        raise UsageError(f"a token grid of {list(grid)} does not fit the decoder: {error}") from error
    if height < spec.image_shape[0] or width < spec.image_shape[1]:
        raise UsageError(
            f"the decoder makes {height}x{width} pixels of a token grid of {list(grid)}, images of "
            f"{list(spec.image_shape)} need more"
        )


def operations(layers: tuple[Layer, ...], grid: Pair) -> int:
    """Products and sums that one image takes in a chain of layers that begins with `grid`."""
    total = 0
    for layer in layers:
        result = layer.output_size(grid)
        total += math.prod(result if layer.kind == "conv" else grid) * _operations_at_a_place(layer)
        total += math.prod(result) * layer.outputs
        grid = result
    return total


def _operations_at_a_place(layer: Layer) -> int:
    taps = math.prod(layer.kernel) * layer.outputs
    return taps if layer.kind == "tokens" else taps * layer.inputs
