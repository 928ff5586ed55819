"""The fitted model of the profile `photo`: the learned transform, its integers, the record of the fit, and its file."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike

from smalti.decoders.contract import CellPrior
from smalti.decoders.transform.prior_network import pack_prior, unpack_prior
from smalti.decoders.transform.transform_model import TransformModel
from smalti.decoders.transform.transform_network import LARGEST_STEP, TransformNetwork
from smalti.decoders.transform.transform_packing import pack_transform, unpack_transform
from smalti.decoders.transform.transform_prior import TransformPrior
from smalti.errors import ModelError, SmaltiError
from smalti.images.source import SizedSource
from smalti.training.cells.encoding import encode_cells
from smalti.training.cells.sized_fits import check_request, check_source, takes
from smalti.training.common.scaling import PixelScale
from smalti.training.common.tensors import read_tensors, with_prefix, without_prefix, write_tensors
from smalti.training.observer import Observer
from smalti.training.training_kind import EncodedCells, EncodeRequest
from smalti.training.transform.bases import Basis
from smalti.training.transform.cell_encoder import CellEncoder
from smalti.training.transform.learned_transform import LearnedTransform, TransformShape
from smalti.training.transform.token_choice import LARGEST
from smalti.training.transform.transform_coder import TransformCoder
from smalti.training.transform.transform_settings import TransformSettings

__all__ = ["TRANSFORM_FORMAT", "FittedTransform"]

TRANSFORM_FORMAT = "smalti-transform"
TRANSFORM_VERSION = 1
_LIMIT_BYTES = 1 << 28
_HEADROOM = 1.1  # of the largest coefficient, which is about that of a white cell


@dataclass(frozen=True)
class FittedTransform:
    """A SizedModel: encodes images of all sizes, of one number of channels and one dtype.

    learned : the transform in floats; its analysis makes the coefficients
    network : the integer decoder    prior : the integer prior, with the tables of the fit
    price : the squared error that a bit is worth, and mse : the mean squared error there, of pixels in [0, 1]
    """

    learned: LearnedTransform
    network: TransformNetwork
    prior: TransformPrior
    scale: PixelScale
    price: float
    mse: float
    settings: TransformSettings
    provenance: dict[str, Any]
    history: list[dict[str, Any]]

    @property
    def channels(self) -> int:
        """C of the images that it takes."""
        return self.network.channels

    @property
    def codebook_size(self) -> int:
        """The number of different tokens."""
        return 1 << 16

    def takes(self, image_shape: tuple[int, int, int], dtype: DTypeLike) -> bool:
        """Return whether the model can encode images of this shape and dtype: of every height and width."""
        return takes(self.channels, self.scale, image_shape, dtype)

    def check_request(self, request: EncodeRequest) -> None:
        """Raise UsageError if the effort is out of range, or if the model is to adapt."""
        check_request(request)

    def encode(self, source: SizedSource, request: EncodeRequest, observer: Observer) -> EncodedCells:
        """Return the tokens of a source's images; the tables of the prior are those of its own tokens."""
        self.check_request(request)
        check_source(self.channels, self.scale, source)
        return encode_cells(self, source, request, observer)

    @property
    def fixed_steps(self) -> bool:
        """False: the steps of the quantiser can change."""
        return False

    def coder(self, prior: CellPrior, gain: float, price: float) -> TransformCoder:
        """A coder whose steps are those of the fit times `gain`. prior : of this model"""
        assert isinstance(prior, TransformPrior)
        encoder, model = self.with_gain(gain)
        return TransformCoder(encoder, model, prior, price, gain, torch.get_num_threads(), self.learned.shape.ratio)

    def with_gain(self, gain: float) -> tuple[CellEncoder, TransformModel]:
        """Return encoder and decoder with all steps multiplied, as far as their coefficients stay within int16."""
        unit, width = 2**self.network.fraction, self.scale.high - self.scale.low
        most = _HEADROOM * width * self.network.cell * math.sqrt(self.channels)
        least = np.minimum(math.ceil(unit * most / LARGEST), self.network.steps)
        steps = np.clip(np.floor(self.network.steps * gain + 0.5), least, LARGEST_STEP).astype(np.int64)
        encoder = CellEncoder(self.learned, self.scale, steps / (unit * width))
        return encoder, TransformModel(replace(self.network, steps=steps))

    def archive_provenance(self) -> tuple[tuple[str, str], ...]:
        """Return the model's provenance for an archive, for people: pairs of strings."""
        pairs = {key: str(value) for key, value in self.provenance.items()}
        return tuple(sorted({**pairs, "effort": str(self.settings.effort), "seed": str(self.settings.seed)}.items()))

    def to_json(self) -> dict[str, Any]:
        """Return a record of the fit: settings, provenance, history, and the sizes of the network."""
        return {
            "profile": self.settings.profile,
            "settings": self.settings.to_json(),
            "provenance": self.provenance,
            "history": self.history,
            "cell": self.network.cell,
            "components": self.network.components,
            "model_bytes": len(pack_transform(self.network)) + len(self.prior.to_bytes()),
            "price": self.price,
            "mse": self.scale.true_mse(self.mse),
        }

    def size_words(self) -> str:
        """Return the size in words."""
        size = len(pack_transform(self.network)) + len(self.prior.to_bytes())
        return f"cells of {self.network.cell} pixels, {self.network.components} components, {size:,} bytes"

    def save(self, path: Path) -> None:
        """Write the model to one safetensors file that holds its description as JSON."""
        tensors = with_prefix("learned.", dict(self.learned.state_dict()))
        tensors["network"] = torch.frombuffer(bytearray(pack_transform(self.network)), dtype=torch.uint8)
        tensors["prior"] = torch.frombuffer(
            bytearray(pack_prior(self.prior.network, self.prior.tables)), dtype=torch.uint8
        )
        description = {
            "format": TRANSFORM_FORMAT,
            "version": TRANSFORM_VERSION,
            "settings": self.settings.to_json(),
            "shape": self.learned.shape.to_json(),
            "scale": self.scale.to_json(),
            "price": self.price,
            "mse": self.mse,
            "provenance": self.provenance,
            "history": self.history,
        }
        write_tensors(path, tensors, description)

    @classmethod
    def load(cls, path: Path) -> "FittedTransform":
        """Read a model; ModelError if the file is missing, foreign, damaged or has another version."""
        tensors, found = read_tensors(path, "model", "make one with smalti fit")
        if found.get("format") != TRANSFORM_FORMAT or found.get("version") != TRANSFORM_VERSION:
            raise ModelError(f"{path} is no model that this release reads; fit it anew")
        try:
            settings = TransformSettings.from_json(found["settings"])
            shape = TransformShape.from_json(found["shape"])
            scale = PixelScale.from_json(found["scale"])
            learned = LearnedTransform(shape, _blank(shape), 1.0)
            learned.load_state_dict(without_prefix("learned.", tensors))
            network = unpack_transform(tensors["network"].numpy().tobytes(), shape.dtype, _LIMIT_BYTES)
            packed = tensors["prior"].numpy().tobytes()
            prior = TransformPrior(*unpack_prior(packed, network.components, _LIMIT_BYTES))
            return cls(
                learned.eval(), network, prior, scale, float(found["price"]), float(found["mse"]), settings,
                dict(found["provenance"]), list(found["history"]),
            )  # fmt: skip
        except ModelError:
            raise
        except (KeyError, TypeError, ValueError, RuntimeError, SmaltiError) as error:
            raise ModelError(f"{path}: what it says of itself cannot be read ({error}); fit it anew") from error


def _blank(shape: TransformShape) -> Basis:
    """A basis of the right sizes, whose numbers are replaced by stored ones."""
    channels, cell = shape.channels, shape.cell
    square = np.zeros((channels, cell, cell))
    return Basis(np.zeros(channels), np.eye(channels), square, square, np.eye(cell), np.ones(channels * cell * cell))
