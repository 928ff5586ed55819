"""The fitted model of the profiles `compact` and `fine`: encoder, pyramid, record of the fit, and the model file."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from smalti.errors import ModelError, UsageError
from smalti.images.source import ImageSource, refuse_skipped
from smalti.training.common.scaling import PixelScale
from smalti.training.common.tensors import read_tensors, with_prefix, without_prefix, write_tensors
from smalti.training.common.training_images import TrainingImages
from smalti.training.observer import Observer
from smalti.training.pyramid.assign import assign
from smalti.training.pyramid.build import make_pyramid
from smalti.training.pyramid.encoder import PyramidEncoder
from smalti.training.pyramid.learned_pyramid import Pyramid
from smalti.training.pyramid.pyramid_settings import EFFORTS, PyramidSettings, PyramidShape
from smalti.training.pyramid.tokens import encode_pyramid
from smalti.training.training_kind import Encoded, EncodeRequest

__all__ = ["PYRAMID_FORMAT", "PyramidModel"]

PYRAMID_FORMAT = "smalti-pyramid"
PYRAMID_VERSION = 1


@dataclass(frozen=True)
class PyramidModel:
    """Encoder and pyramid, in the archive's integers: a FittedModel of the profiles `compact` and `fine`.

    weights : distortion of a squared unit of each latent, [D] for each scale
    price : squared error of an image that one bit was worth at the end of the fit
    levels : number of levels of each scale
    provenance : source, number of images, software versions, for people
    history : one PyramidReport as a dictionary for each report
    """

    encoder: PyramidEncoder
    pyramid: Pyramid
    weights: list[Tensor]
    price: float
    levels: tuple[int, ...]
    settings: PyramidSettings
    provenance: dict[str, Any]
    history: list[dict[str, Any]]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the images it can encode."""
        return self.pyramid.shape.image_shape

    @property
    def scale(self) -> PixelScale:
        """The scale of its pixels."""
        return self.pyramid.scale

    @property
    def codebook_size(self) -> int:
        """The number of codes, of all levels together."""
        return sum(len(codes) for codes in self.pyramid.codes)

    def fingerprint(self) -> str:
        """Return the SHA-256 of the pyramid's numbers."""
        digest = hashlib.sha256()
        for name, value in sorted(self.pyramid.state_dict().items()):
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def takes(self, image_shape: tuple[int, int, int], dtype: DTypeLike) -> bool:
        """Return whether the model can encode such images: only those with the shape and dtype of the fit."""
        return image_shape == self.image_shape and np.dtype(dtype) == self.scale.dtype

    def check_request(self, request: EncodeRequest) -> None:
        """Raise UsageError if the effort is out of range."""
        if request.effort is not None and not 0 <= request.effort < len(EFFORTS):
            raise UsageError(f"an effort of {request.effort} is outside 0..{len(EFFORTS) - 1}")

    @torch.no_grad()
    def tokens(self, images: Tensor, price: float | None = None) -> list[Tensor]:
        """Return the tokens of images float [n, C, H, W] in [0, 1]: int64 [n, positions] for each level.

        price : squared error of an image that one bit is worth; None for the model's own
        """
        targets = [self.pyramid.unit_value * scale for scale in self.encoder(images)]
        used = self.price if price is None else price
        return assign(self.pyramid, targets, self.weights, used if self.settings.rate_aware else 0.0).tokens

    def encode(self, source: ImageSource, request: EncodeRequest, observer: Observer) -> Encoded:
        """Return the tokens of a source's images. All are chosen before the first batch is returned.

        If the archive is for these images alone, the model also learns from their tokens, in place.
        """
        self.check_request(request)
        images = TrainingImages(source, self.scale, request.beside)
        if request.strict:
            refuse_skipped(source.description, source.skipped)  # now, before the long work begins
        return encode_pyramid(self, images, source, request, observer)

    def archive_provenance(self) -> tuple[tuple[str, str], ...]:
        """Return the model's provenance for an archive, as sorted pairs of strings."""
        pairs = {
            "fitted_on": str(self.provenance.get("source", "unknown")),
            "fitted_images": str(self.provenance.get("images", "unknown")),
            "effort": str(self.settings.effort),
            "seed": str(self.settings.seed),
            "torch": str(self.provenance.get("torch", "unknown")),
        }
        return tuple(sorted(pairs.items()))

    def to_json(self) -> dict[str, Any]:
        """Return the record of the fit."""
        return {"settings": self.settings.to_json(), "provenance": self.provenance, "history": self.history}

    def size_words(self) -> str:
        """Return the number of codes in words."""
        return f"{self.codebook_size:,} codes"

    def save(self, path: Path) -> None:
        """Write the model to one safetensors file that holds its description as JSON."""
        tensors = with_prefix("encoder.", self.encoder.state_dict())
        tensors |= with_prefix("pyramid.", self.pyramid.state_dict())
        tensors |= {f"weight.{scale}": value for scale, value in enumerate(self.weights)}
        shape = self.pyramid.shape
        description = {
            "format": PYRAMID_FORMAT,
            "version": PYRAMID_VERSION,
            "settings": self.settings.to_json(),
            "image_shape": list(shape.image_shape),
            "scale": self.scale.to_json(),
            "strides": [list(stride) for stride in shape.strides],
            "latents": list(shape.latents),
            "widths": list(shape.widths),
            "mixing": shape.mixing,
            "sliced": shape.sliced,
            "levels": list(self.levels),
            "codes": [len(codes) for codes in self.pyramid.codes],
            "price": self.price,
            "provenance": self.provenance,
            "history": self.history,
        }
        write_tensors(path, tensors, description)

    @classmethod
    def load(cls, path: Path) -> "PyramidModel":
        """Read a model; ModelError if the file is missing, foreign, damaged or has another version."""
        tensors, found = read_tensors(path, "model", "make one with smalti fit")
        if found.get("format") != PYRAMID_FORMAT or found.get("version") != PYRAMID_VERSION:
            raise ModelError(f"{path} is no model that this release reads; fit it anew")
        try:
            settings = PyramidSettings.from_json(found["settings"])
            height, width, channels = found["image_shape"]
            strides = tuple((down, across) for down, across in found["strides"])
            shape = PyramidShape(
                (height, width, channels),
                strides,
                tuple(found["latents"]),
                tuple(found["widths"]),
                bool(found["mixing"]),
                bool(found.get("sliced", False)),  # the first models of version 1 lack the entry
            )
            levels = tuple(found["levels"])
            scale = PixelScale.from_json(found.get("scale"))
            pyramid = make_pyramid(shape, levels, found["codes"], settings.conditional, settings.seed, scale)
            pyramid.load_state_dict(without_prefix("pyramid.", tensors))
            encoder = PyramidEncoder(shape)
            encoder.load_state_dict(without_prefix("encoder.", tensors))
            weights = [tensors[f"weight.{scale}"] for scale in range(len(strides))]
            price, provenance, history = float(found["price"]), dict(found["provenance"]), list(found["history"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"{path}: what it says of itself cannot be read ({error}); fit it anew") from error
        pyramid.set_whole()
        return cls(encoder.eval(), pyramid.eval(), weights, price, levels, settings, provenance, history)
