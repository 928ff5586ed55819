"""The fitted model of the kind `pixels`: levels, the integer prior, the record of the fit, and its file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import DTypeLike

from smalti.decoders.contract import CellPrior
from smalti.decoders.pixels.mixture_prior import MixturePrior
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pixels.pixel_packing import unpack_levels
from smalti.decoders.pixels.pixel_prior import PixelPrior
from smalti.errors import ModelError, SmaltiError, UsageError
from smalti.images.source import SizedSource
from smalti.training.cells.encoding import encode_cells
from smalti.training.cells.sized_fits import check_request, check_source, takes
from smalti.training.common.scaling import PixelScale
from smalti.training.common.tensors import read_tensors, write_tensors
from smalti.training.observer import Observer
from smalti.training.pixels.exact_coder import exact_batches
from smalti.training.pixels.pixel_coder import PixelCoder
from smalti.training.pixels.pixel_settings import PixelSettings
from smalti.training.training_kind import EncodedCells, EncodeRequest

__all__ = ["PIXELS_FORMAT", "FittedPixels"]

PIXELS_FORMAT = "smalti-pixels"
PIXELS_VERSION = 1
_LIMIT_BYTES = 1 << 28


@dataclass(frozen=True)
class FittedPixels:
    """A SizedModel: encodes images of all sizes, of one number of channels and one dtype.

    prior : the integer prior, which has the levels
    price : the squared error that a bit is worth, and mse : the mean squared error there, of pixels in [0, 1]
    """

    prior: PixelPrior | MixturePrior
    scale: PixelScale
    price: float
    mse: float
    settings: PixelSettings
    provenance: dict[str, Any]
    history: list[dict[str, Any]]

    @property
    def channels(self) -> int:
        """C of the images that it takes."""
        return self.prior.model.channels

    @property
    def codebook_size(self) -> int:
        """The number of levels of the channel that has most."""
        return max(self.prior.network.levels)

    @property
    def fixed_steps(self) -> bool:
        """True: the network knows its levels, so they cannot change."""
        return True

    def takes(self, image_shape: tuple[int, int, int], dtype: DTypeLike) -> bool:
        """Return whether the model can encode images of this shape and dtype: of every height and width."""
        return takes(self.channels, self.scale, image_shape, dtype)

    def check_request(self, request: EncodeRequest) -> None:
        """Raise UsageError if the effort is out of range, or if the model is to adapt."""
        check_request(request)
        if request.goal is not None and request.goal != self.settings.goal and self._max_error is not None:
            raise UsageError(f"the model is for {self.settings.goal.words()}, not for {request.goal.words()}")
        if request.goal is not None and request.goal.max_error is not None and self._max_error is None:
            raise UsageError(f"the model is for {self.settings.goal.words()}: fit one with --profile lossless")

    def encode(self, source: SizedSource, request: EncodeRequest, observer: Observer) -> EncodedCells:
        """Return the tokens of a source's images."""
        self.check_request(request)
        check_source(self.channels, self.scale, source)
        if self._max_error is not None:
            model = self.prior.model
            return EncodedCells(model, self.prior, exact_batches(source, model, self._max_error))
        return encode_cells(self, source, request, observer)

    @property
    def _max_error(self) -> int | None:
        return self.settings.goal.max_error

    def coder(self, prior: CellPrior, gain: float, price: float) -> PixelCoder:
        """A coder with this price. prior : of this model    gain : 1"""
        assert isinstance(prior, PixelPrior)
        assert gain == 1
        return PixelCoder(self.prior.model, prior, price, self.scale.high - self.scale.low, torch.get_num_threads())

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
            "levels": [len(values) for values in self.prior.model.levels],
            "model_bytes": self._size(),
            "price": self.price,
            "mse": self.scale.true_mse(self.mse),
        }

    def size_words(self) -> str:
        """Return the size in words."""
        network = self.prior.network
        return f"{max(network.levels)} levels, {network.width} hidden values, {self._size():,} bytes"

    def save(self, path: Path) -> None:
        """Write the model to one safetensors file that holds its description as JSON."""
        tensors = {
            name: torch.frombuffer(bytearray(data), dtype=torch.uint8)
            for name, data in (("levels", self.prior.model.to_bytes()), ("prior", self.prior.to_bytes()))
        }
        description = {
            "format": PIXELS_FORMAT,
            "version": PIXELS_VERSION,
            "settings": self.settings.to_json(),
            "scale": self.scale.to_json(),
            "price": self.price,
            "mse": self.mse,
            "provenance": self.provenance,
            "history": self.history,
        }
        write_tensors(path, tensors, description)

    @classmethod
    def load(cls, path: Path) -> "FittedPixels":
        """Read a model; ModelError if the file is missing, foreign, damaged or has another version."""
        tensors, found = read_tensors(path, "model", "make one with smalti fit")
        if found.get("format") != PIXELS_FORMAT or found.get("version") != PIXELS_VERSION:
            raise ModelError(f"{path} is no model that this release reads; fit it anew")
        try:
            scale = PixelScale.from_json(found["scale"])
            levels, hides = unpack_levels(tensors["levels"].numpy().tobytes(), scale.largest, _LIMIT_BYTES)
            model = PixelModel(levels, scale.dtype, hides)
            return cls(
                model.read_prior(tensors["prior"].numpy().tobytes()), scale, float(found["price"]),
                float(found["mse"]), PixelSettings.from_json(found["settings"]), dict(found["provenance"]),
                list(found["history"]),
            )  # fmt: skip
        except ModelError:
            raise
        except (KeyError, TypeError, ValueError, RuntimeError, SmaltiError) as error:
            raise ModelError(f"{path}: what it says of itself cannot be read ({error}); fit it anew") from error

    def _size(self) -> int:
        return len(self.prior.model.to_bytes()) + len(self.prior.to_bytes())
