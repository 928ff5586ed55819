"""A kind of model for images of all sizes that learns nothing, so that the flow around such kinds is tested alone."""

import json
from dataclasses import asdict, dataclass, field

import numpy as np

from decoders.cell_kind import CELLS, CellsModel, CellsPrior
from smalti.decoders import kind as decoder_kinds
from smalti.errors import ModelError, UsageError
from smalti.training import kinds
from smalti.training.common.goal import Goal
from smalti.training.common.scaling import PixelScale
from smalti.training.observer import FitInterruptedError
from smalti.training.training_kind import EncodedCells

STEPS = 4


@dataclass(frozen=True)
class PhotoSettings:
    profile: str
    goal: Goal | None
    effort: int
    seed: int

    def to_json(self):
        return asdict(self)


@dataclass
class PhotoModel:
    channels: int
    scale: PixelScale
    settings: PhotoSettings
    provenance: dict
    codebook_size: int = 2
    requests: list = field(default_factory=list)
    missed: str | None = None
    lossy: bool = False

    @property
    def cells(self):
        return CellsModel(self.channels, bits=8 if self.scale.dtype == "uint8" else 16, reach=0)

    def takes(self, image_shape, dtype):
        return image_shape[2] == self.channels and np.dtype(dtype) == self.scale.dtype

    def check_request(self, request):
        if request.effort is not None and not 0 <= request.effort <= 9:
            raise UsageError(f"an effort of {request.effort}")

    def encode(self, source, request, observer):
        self.requests.append(request)
        return EncodedCells(self.cells, CellsPrior(self.cells.tokens_per_cell), self._batches(source), self.missed)

    def _batches(self, source):
        for batch in source.batches(16):
            pixels = batch.pixels - batch.pixels % 8 if self.lossy else batch.pixels
            yield batch, self.cells.tokens(pixels)[0]

    def archive_provenance(self):
        return (("fitted_on", self.provenance["source"]),)

    def to_json(self):
        return {"settings": self.settings.to_json(), "provenance": self.provenance, "history": []}

    def size_words(self):
        return "no parameters"

    def save(self, path):
        stored = {"channels": self.channels, "dtype": self.scale.dtype, "provenance": self.provenance}
        path.write_text(json.dumps(stored))


class PhotoTraining:
    """Fits are four steps; the state of an interrupted one is the number of its steps."""

    profiles = ("photo",)
    model_format = "photo-of-tests"
    takes_validation = False
    any_size = True

    lossy = False

    def __init__(self):
        self.fitted = []  # of each fit: source, settings, steps
        self.models = []

    def make_settings(self, profile, *, codebook_size, epochs, seed, goal, effort):
        if codebook_size is not None or epochs is not None:
            raise UsageError("photo has no codebooks and no epochs")
        return PhotoSettings(profile, goal, 5 if effort is None else effort, seed or 0)

    def fit(self, source, settings, options, observer):
        state = options.checkpoint
        done = int(state.read_text()) if state is not None and options.resume and state.exists() else 0
        self.fitted.append((source, settings, STEPS - done))
        while done < STEPS:
            done += 1
            observer.on_step("fit", done, STEPS)
            if observer.should_stop():
                if state is not None:
                    state.write_text(str(done))
                raise FitInterruptedError(state)
        scale = PixelScale.of_range(source.dtype, 0, 65535 if source.dtype == np.uint16 else 255)
        model = PhotoModel(source.channels, scale, settings, {"source": source.description}, lossy=self.lossy)
        self.models.append(model)
        return model

    def load(self, path, device):
        found = json.loads(path.read_text())
        scale = PixelScale.of_range(found["dtype"], 0, 65535)
        settings = PhotoSettings("photo", None, 5, 0)
        self.models.append(PhotoModel(found["channels"], scale, settings, found["provenance"]))
        return self.models[-1]


def install(monkeypatch):
    """Make it the kind of the profile photo; return it."""
    kind = PhotoTraining()
    stored_format = kinds.stored_format

    def read_format(path):
        try:
            return kind.model_format if path.read_bytes()[:1] == b"{" else stored_format(path)
        except OSError as error:
            raise ModelError(str(error)) from error

    monkeypatch.setattr(kinds, "stored_format", read_format)
    monkeypatch.setattr(kinds, "KINDS", (*(one for one in kinds.KINDS if "photo" not in one.profiles), kind))
    monkeypatch.setitem(kinds.PROFILES, "photo", kind)
    monkeypatch.setitem(decoder_kinds.CELL_KINDS, "cells", CELLS)
    return kind
