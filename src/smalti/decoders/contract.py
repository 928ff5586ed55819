"""The interface of decoder kinds. Layers above use these protocols and never ask for a kind's name.

    reading   DecoderFacts, DecoderLimits ──► ImageModel ──► Prior
              CellFacts, DecoderLimits ──► CellModel ──► CellPrior    (images of any sizes)
    writing   TokenSpec ──► WriterModel, and Tokens ──► ImageModel, Prior
    sharing   ImageModel ──► SharedModel

It also has the checks that kinds share: a network must match the header or the writer that names it, and its cost.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smalti.decoders.layers.integer_network import Layer, Pair, PixelType
from smalti.errors import DamagedArchiveError, ModelError, UsageError
from smalti.images.batch import Pixels

__all__ = [
    "CellFacts",
    "CellModel",
    "CellPrior",
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


@dataclass(frozen=True)
class TokenSpec:
    """The shape of the images and tokens of an archive, known before its first image.

    image_shape : (H, W, C), the top left part of the decoder's output
    dtype : of pixels, "uint8" or "uint16"
    token_grid : (h, w) tokens of an image
    codebook_size : K, the number of codes
    """

    image_shape: tuple[int, int, int]
    token_grid: Pair
    codebook_size: int
    dtype: str


@dataclass(frozen=True)
class DecoderFacts:
    """The facts that the header of an archive states about its decoder.

    channels : C    dtype : of pixels    padded_shape : rows and columns of the decoder's output
    token_grid : (h, w) tokens of an image
    codebook_size : K, the number of codes    codes_used : how many of them occur
    block_images : the largest number of images in a token block
    """

    channels: int
    dtype: PixelType
    padded_shape: Pair
    token_grid: Pair
    codebook_size: int
    codes_used: int
    block_images: int


class DecoderLimits(Protocol):
    """Bounds on the memory and the computation that a decoder may cost its reader."""

    @property
    def model_bytes(self) -> int:
        """The most bytes that the unpacked numbers of a network may take."""

    def check(self, limit: str, asked: int, what: str) -> None:
        """Raise LimitExceededError if `asked` is above the limit of this name; the message says that `what` needs it.

        Kinds check "network_operations" (products and sums for one image) and "block_bytes".
        """


@dataclass(frozen=True)
class LevelInfo:
    """A level of tokens: the index of its scale, its grid (h, w), its h * w positions, and its number of codes."""

    scale: int
    grid: Pair
    positions: int
    codes: int


class Network(Protocol):
    """The numbers of a decoder, in the form that a writer takes."""

    @property
    def kind(self) -> str:
        """The name of its DecoderKind."""

    @property
    def codes(self) -> int:
        """The number of its codes."""

    @property
    def channels(self) -> int:
        """C, channels of an image."""

    @property
    def dtype(self) -> PixelType:
        """Of the pixels: uint8 or uint16."""

    def output_size(self, grid: Pair) -> Pair:
        """Rows and columns of an image for a grid of inputs; ModelError if the grid does not fit."""


class Prior(Protocol):
    """The probabilities that code the tokens of a block, indices uint16 [n, T]."""

    @property
    def operations(self) -> int:
        """Products, sums and look-ups that it takes to code one image."""

    def encode(self, tokens: NDArray[np.integer]) -> bytes:
        """Code tokens; `decode` is the inverse."""

    def decode(self, data: bytes, images: int) -> NDArray[np.uint16]:
        """Read the tokens of `images` images: uint16 [images, T]; DamagedArchiveError."""

    def to_bytes(self) -> bytes:
        """The payload of the prior section."""


class Tokens(Protocol):
    """Tokens of images, in order.

    counts : int64 [K], how often each code occurs
    images : the number of images    tokens_per_image : T
    """

    counts: NDArray[np.int64]
    images: int
    tokens_per_image: int

    def read(self, piece_images: int) -> Iterator[NDArray[np.uint16]]:
        """Yield the tokens of all images, uint16 [n, T], for `piece_images` images at a time."""

    def position_counts(self, code_index: NDArray[np.uint16], codes: int) -> NDArray[np.int64]:
        """How often each code occurs at each position: int64 [T, codes].

        code_index : uint16 [K], the index of each code among those in use
        """


class ImageModel(Protocol):
    """A decoder that is ready to run, and the meaning of stored indices; safe to use from several threads.

    code_ids : uint16, the number in [0, K) of each index; an absent token has no entry and stays as it is
    """

    code_ids: NDArray[np.uint16]

    @property
    def kind(self) -> str:
        """The name of its DecoderKind, which the header states."""

    @property
    def network(self) -> Network:
        """The numbers of the decoder."""

    @property
    def levels(self) -> tuple[LevelInfo, ...] | None:
        """The levels of its tokens; None if its kind has no levels."""

    @property
    def grid(self) -> Pair:
        """Rows and columns of the network's input: of the tokens, or of a pyramid's canvas."""

    @property
    def padded_shape(self) -> Pair:
        """Rows and columns of its output."""

    def decode(self, indices: NDArray[np.uint16], threads: int, levels: int | None) -> Pixels:
        """Pixels [n, H', W', C] of indices [n, T]. `levels` uses only the first levels; None uses all."""

    def read_prior(self, data: bytes) -> Prior:
        """Read the payload of the prior section; DamagedArchiveError, UnsupportedArchiveError."""

    def to_bytes(self) -> bytes:
        """The payload of the model section."""

    def whole_network(self) -> Network:
        """The network for all K codes, in the form that a writer takes. Codes that are not stored are zeros."""

    def share_key(self) -> bytes:
        """A key that is equal for two models of one kind if they differ in their codes in use alone."""

    def sharing(self) -> "SharedModel":
        """A model that this one can share with others."""


@dataclass(frozen=True)
class CellFacts:
    """The facts that an archive of images of any sizes states about its decoder.

    channels : C    dtype : of pixels    cell : rows and columns of pixels of a cell
    tokens_per_cell : M
    block_cells : the largest number of cells of a token block; no picture that is decoded at once has more, but for the
        cells within reach of it
    """

    channels: int
    dtype: PixelType
    cell: int
    tokens_per_cell: int
    block_cells: int


class CellPrior(Protocol):
    """A prior of tokens [cells, M] of pictures of any sizes: see `CellModel`."""

    @property
    def operations(self) -> int:
        """Products, sums and look-ups that it takes to code one cell."""

    @property
    def cell_bytes(self) -> int:
        """Bytes of memory that it takes to code one cell."""

    def encode(self, tokens: NDArray[np.uint16], grids: NDArray[np.int64]) -> bytes:
        """Code the tokens of pictures, uint16 [cells, M]; `decode` is the inverse.

        grids : int64 [pictures, 2], rows and columns of cells of each picture; cells are picture after picture, row by
            row. No picture knows of another
        """

    def decode(self, data: bytes, grids: NDArray[np.int64]) -> NDArray[np.uint16]:
        """Read the tokens of pictures: uint16 [cells, M]; DamagedArchiveError."""

    def to_bytes(self) -> bytes:
        """The payload of the prior section."""


class CellModel(Protocol):
    """The decoder of a kind whose images have any size: a picture is a grid of square cells of pixels.

    A picture is an image, or a rectangle of whole cells of one. Every cell has M tokens. An image of H x W pixels has
    ceil(H / cell) x ceil(W / cell) cells, and is the top left H x W of what its cells decode to.

    cell : rows and columns of pixels of a cell
    tokens_per_cell : M
    reach : how many cells around it the pixels of a cell depend on. If a rectangle of cells is decoded with this many
        cells more on each side (as far as the image has them), its own pixels are those of the whole image
    """

    cell: int
    tokens_per_cell: int
    reach: int

    @property
    def kind(self) -> str:
        """The name of its DecoderKind, which the header states."""

    @property
    def channels(self) -> int:
        """C."""

    @property
    def dtype(self) -> PixelType:
        """Of the pixels: uint8 or uint16."""

    def decode(self, tokens: NDArray[np.uint16], grids: NDArray[np.int64], threads: int) -> list[Pixels]:
        """The pixels [rows * cell, columns * cell, C] of each picture. tokens, grids : as for `CellPrior`"""

    def read_prior(self, data: bytes) -> CellPrior:
        """Read the payload of the prior section; DamagedArchiveError, UnsupportedArchiveError."""

    def to_bytes(self) -> bytes:
        """The payload of the model section."""


class SharedModel(Protocol):
    """One model that stands for the models of several archives. It holds no decoder that is ready to run."""

    def add(self, model: ImageModel) -> bool:
        """Add a model of the same kind and share key. Return False and change nothing if it contradicts the others."""

    @property
    def model(self) -> ImageModel:
        """The shared model, with the codes of all that were added."""

    def reference(self, code_ids: NDArray[np.uint16]) -> bytes:
        """The bytes that an archive stores instead of its own model, next to the name of the shared one.

        code_ids : of the archive's own model, which was added. `DecoderKind.unpack_shared` reads the bytes.
        """


class WriterModel(Protocol):
    """A decoder for tokens that are to be written."""

    @property
    def block_images(self) -> int:
        """The default number of images in a token block; a writer takes fewer if images have very many pixels."""

    def check(self, tokens: NDArray[np.integer]) -> None:
        """Raise UsageError unless these are tokens [n, T] of the decoder."""

    def stored(self, tokens: Tokens) -> tuple[ImageModel, Prior]:
        """The model and the prior that the file will hold, once all tokens are known."""


def check_codes(codes: int, stated: int) -> None:
    """Raise DamagedArchiveError unless a network has as many codes as the header states."""
    if codes != stated:
        raise DamagedArchiveError(f"it holds {codes} codes, not the {stated} that the header states")


def check_pixels(network: Network, grid: Pair, facts: DecoderFacts) -> None:
    """Raise DamagedArchiveError unless a network makes images as the header states them."""
    if network.channels != facts.channels:
        raise DamagedArchiveError(f"it makes {network.channels} channels, not {facts.channels}")
    if (size := network.output_size(grid)) != facts.padded_shape:
        raise DamagedArchiveError(f"it makes images of {list(size)}, not {list(facts.padded_shape)}")


def check_fit(spec: TokenSpec, network: Network, grid: Pair) -> None:
    """Raise UsageError unless a network makes the images of a writer. grid : of the network's input"""
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
    """Products and sums for one image in a chain of layers whose input is a `grid`."""
    total = 0
    for layer in layers:
        result = layer.output_size(grid)
        total += math.prod(result if layer.kind == "conv" else grid) * _operations_per_position(layer)
        total += math.prod(result) * layer.outputs
        grid = result
    return total


def _operations_per_position(layer: Layer) -> int:
    taps = math.prod(layer.kernel) * layer.outputs
    return taps if layer.kind == "tokens" else taps * layer.inputs
