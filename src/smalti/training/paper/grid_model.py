"""The fitted model of the profile `paper`: network, integer decoder, settings, provenance, and the model file."""

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.decoders.layers.integer_network import IntegerNetwork
from smalti.decoders.layers.network_packing import pack_network, unpack_network
from smalti.errors import ModelError, SmaltiError, UsageError
from smalti.images.batch import ImageBatch
from smalti.images.source import ImageSource
from smalti.training.common.scaling import EIGHT_BITS, PixelScale
from smalti.training.common.tensors import read_tensors, write_tensors
from smalti.training.common.training_images import to_unit_range
from smalti.training.observer import Observer
from smalti.training.paper.settings import FitSettings
from smalti.training.paper.vqvae import DOWNSAMPLING, VQVAE, padded_size
from smalti.training.training_kind import Encoded, EncodeRequest

__all__ = ["MODEL_FORMAT", "Model"]

MODEL_FORMAT = "smalti-model"
MODEL_VERSION = 2
INTEGER_DECODER = "integer_decoder"
"""The tensor that holds the packed integer decoder, uint8 [bytes]."""

LARGEST_DECODER_BYTES = 1 << 30

ENCODE_VALUES = 64 * 28 * 28
"""Pixels encoded at a time: the fastest batch of 28x28 images on CPUs, and a memory bound for larger images."""


@dataclass(frozen=True)
class Model:
    """A fitted network and the record of its fit: a FittedModel of the profile `paper`.

    decoder : the integer decoder for all codes; an archive stores a part of it
    image_shape : height, width, channels of the images of the fit
    provenance : source, number of images, software versions, for people
    history : one EpochReport as a dictionary for each epoch
    quantization : the QuantizationReport as a dictionary
    scale : the scale of its pixels
    """

    network: VQVAE
    decoder: IntegerNetwork
    settings: FitSettings
    image_shape: tuple[int, int, int]
    provenance: dict[str, Any]
    history: list[dict[str, Any]]
    quantization: dict[str, Any]
    scale: PixelScale = EIGHT_BITS

    @property
    def codebook_size(self) -> int:
        """K; tokens are in [0, K)."""
        return self.settings.quantizer.codebook_size

    def takes(self, image_shape: tuple[int, int, int], dtype: DTypeLike) -> bool:
        """Return whether the model can encode such images: of any height and width, since it is convolutional."""
        return image_shape[2] == self.image_shape[2] and np.dtype(dtype) == self.scale.dtype

    def check_request(self, request: EncodeRequest) -> None:
        """Raise UsageError if the request has a target, an effort, or `adapt`."""
        options = {
            "the target": request.goal is not None,
            "--effort": request.effort is not None,
            "--adapt": request.adapt,
        }
        if any(options.values()):
            words = " and ".join(option for option, given in options.items() if given)
            raise UsageError(
                f"a model of the profile paper has no targets, no effort, and cannot be adapted; leave {words} out"
            )

    @torch.no_grad()
    def tokens(self, images: Tensor) -> Tensor:
        """Return the tokens of images: float [n, C, H, W] in [0, 1] -> int64 [n, h, w], on the CPU."""
        device = next(self.network.parameters()).device
        return self.network.encode(images.to(device)).cpu()

    def encode(self, source: ImageSource, request: EncodeRequest, observer: Observer) -> Encoded:
        """Return the tokens of a source's images; each batch is encoded when the caller takes it."""
        self.check_request(request)
        height, width = padded_size(*source.image_shape[:2])
        decoder = IntegerDecoder(self.decoder)
        return Encoded(
            self.decoder,
            None,
            (height // DOWNSAMPLING, width // DOWNSAMPLING),
            self.codebook_size,
            self._encoded(source, max(1, ENCODE_VALUES // (height * width))),
            decoder.decode,
        )

    def _encoded(self, source: ImageSource, batch_images: int) -> Iterator[tuple[ImageBatch, NDArray[np.integer]]]:
        for batch in source.batches(batch_images):
            yield batch, self.tokens(to_unit_range(batch.pixels, self.scale)).numpy()

    def archive_provenance(self) -> tuple[tuple[str, str], ...]:
        """Return the model's provenance for an archive: its source and the settings that shaped it."""
        quantizer = self.settings.quantizer
        return (
            ("fitted_on", str(self.provenance.get("source", "unknown"))),
            ("fitted_images", str(self.provenance.get("images", "unknown"))),
            ("epochs", str(self.settings.epochs)),
            ("seed", str(self.settings.seed)),
            ("quantizer", f"update {quantizer.update}, start {quantizer.start}, restart {quantizer.restart}"),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the record of the fit."""
        return {
            "settings": self.settings.to_json(),
            "provenance": self.provenance,
            "history": self.history,
            "quantization": self.quantization,
        }

    def size_words(self) -> str:
        """Return the number of parameters in words."""
        return f"{self.provenance['parameters']:,} parameters"

    def save(self, path: Path) -> None:
        """Write the model to one safetensors file that holds its description as JSON."""
        packed = np.frombuffer(pack_network(self.decoder), np.uint8).copy()
        tensors = {**self.network.state_dict(), INTEGER_DECODER: torch.from_numpy(packed)}
        description = {
            "format": MODEL_FORMAT,
            "version": MODEL_VERSION,
            "settings": self.settings.to_json(),
            "image_shape": list(self.image_shape),
            "scale": self.scale.to_json(),
            "provenance": self.provenance,
            "history": self.history,
            "quantization": self.quantization,
        }
        write_tensors(path, tensors, description)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "Model":
        """Read a model; ModelError if the file is missing, foreign, damaged or has another version."""
        tensors, description = read_tensors(path, "model", "make one with smalti fit")
        if description.get("format") != MODEL_FORMAT:
            raise ModelError(f"{path} holds a {description.get('format', 'foreign file')}, not a model; name a model")
        if description.get("version") != MODEL_VERSION:
            raise ModelError(
                f"{path} is a model of version {description.get('version')}, this release reads {MODEL_VERSION}; "
                "fit it anew"
            )
        try:
            settings = FitSettings.from_json(description["settings"])
            image_shape = _shape(description["image_shape"])
            provenance, history = dict(description["provenance"]), list(description["history"])
            quantization = dict(description["quantization"])
            scale = PixelScale.from_json(description.get("scale"))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path}: what it says of itself cannot be read ({error}); fit it anew") from error
        decoder = _decoder(path, tensors.pop(INTEGER_DECODER, torch.empty(0)), scale.dtype)
        _check_weights(path, tensors, image_shape[2], settings)
        network = VQVAE(image_shape[2], settings)
        network.load_state_dict(tensors)
        network.eval().to(device)
        return cls(network, decoder, settings, image_shape, provenance, history, quantization, scale)


def _decoder(path: Path, packed: Tensor, dtype: str) -> IntegerNetwork:
    try:
        return unpack_network(packed.numpy().tobytes(), LARGEST_DECODER_BYTES, dtype)
    except SmaltiError as error:
        raise ModelError(f"{path}: its integer decoder cannot be read ({error}); fit it anew") from error


def _shape(stored: Any) -> tuple[int, int, int]:
    """Return a stored image shape; ValueError if it is not valid."""
    height, width, channels = (operator.index(side) for side in stored)
    if min(height, width) < 1 or not 1 <= channels <= 4:
        raise ValueError(f"image shape {stored}")
    return height, width, channels


def _check_weights(path: Path, tensors: dict[str, Tensor], channels: int, settings: FitSettings) -> None:
    """Raise ModelError unless the tensors are finite weights of such a network. The check allocates nothing large."""
    try:
        with torch.device("meta"):
            expected = VQVAE(channels, settings).state_dict()
    except RuntimeError as error:  # impossible tensor sizes
        raise ModelError(f"{path}: its settings ask for an impossible network; fit it anew") from error
    stored = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
    if stored != {name: (tensor.shape, tensor.dtype) for name, tensor in expected.items()}:
        raise ModelError(f"{path}: the weights do not fit the settings beside them; fit it anew")
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise ModelError(f"{path}: some weights are not finite numbers; fit it anew")
