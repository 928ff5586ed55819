"""A third kind of decoder, as a developer might add it: tokens are the values of pixels, and nothing is learned."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from smalti.decoders.contract import check_fit, check_pixels
from smalti.errors import DamagedArchiveError, UsageError

PAYLOAD = b"raw"


@dataclass(frozen=True)
class RawNetwork:
    """Makes images of one shape of 8 bits."""

    kind: ClassVar[str] = "raw"
    image_shape: tuple[int, int, int]
    codes: ClassVar[int] = 256
    dtype: ClassVar[np.dtype] = np.dtype(np.uint8)

    @property
    def channels(self):
        return self.image_shape[2]

    def output_size(self, grid):
        return self.image_shape[:2]


class RawKind:
    name = "raw"
    fewest_codes = 1
    prior_copies = 1
    fits_prior = True
    has_levels = False

    def unpack(self, data, facts, limits):
        height, width = facts.padded_shape
        network = RawNetwork((height, width, facts.channels))
        if data != PAYLOAD or facts.codebook_size != 256 or facts.token_grid != (1, height * width * facts.channels):
            raise DamagedArchiveError("it is no model of raw pixels")
        limits.check("network_operations", facts.token_grid[1], "an image")
        check_pixels(network, facts.token_grid, facts)
        return RawModel(network)

    def unpack_shared(self, data, codes, reference, facts, limits):
        if reference:
            raise DamagedArchiveError("bytes follow the name of a shared model")
        return self.unpack(data, facts, limits)

    def writing(self, spec, network, prior):
        if prior is not None:
            raise UsageError("raw pixels need no prior")
        check_fit(spec, network, spec.token_grid)
        return RawWriter(network)


class RawModel:
    kind, levels = "raw", None
    code_ids = np.arange(256, dtype=np.uint16)

    def __init__(self, network):
        self.network = network
        self.grid = (1, int(np.prod(network.image_shape)))
        self.padded_shape = network.image_shape[:2]

    def decode(self, indices, threads, levels):
        return indices.astype(np.uint8).reshape(-1, *self.network.image_shape)

    def read_prior(self, data):
        if data != PAYLOAD:
            raise DamagedArchiveError("it is no prior of raw pixels")
        return RawPrior(self.grid[1])

    def to_bytes(self):
        return PAYLOAD

    def whole_network(self):
        return self.network

    def share_key(self):
        return PAYLOAD

    def sharing(self):
        return SharedRaw(self)


@dataclass(frozen=True)
class SharedRaw:
    model: RawModel

    def add(self, model):
        return True

    def reference(self, code_ids):
        return b""


@dataclass(frozen=True)
class RawPrior:
    operations: int

    def encode(self, tokens):
        return tokens.astype(np.uint8).tobytes()

    def decode(self, data, images):
        if len(data) != images * self.operations:
            raise DamagedArchiveError(f"{len(data)} bytes of pixels")
        return np.frombuffer(data, np.uint8).astype(np.uint16).reshape(images, self.operations)

    def to_bytes(self):
        return PAYLOAD


class RawWriter:
    block_images = 100

    def __init__(self, network):
        self._network = network

    def check(self, tokens):
        if tokens.size and not 0 <= int(tokens.min()) <= int(tokens.max()) < 256:
            raise UsageError("tokens that are no pixels")

    def stored(self, tokens):
        return RawModel(self._network), RawPrior(tokens.tokens_per_image)
