"""The table of model kinds, one line each, and the reader of model files of any kind."""

from pathlib import Path
from typing import TypeGuard

from smalti.errors import UsageError
from smalti.training.common.tensors import stored_format
from smalti.training.lossless.lossless_training import LosslessTraining
from smalti.training.paper.paper_training import PaperTraining
from smalti.training.photo.photo_training import PhotoTraining
from smalti.training.pixels.pixel_training import PixelTraining
from smalti.training.pyramid.pyramid_training import PyramidTraining
from smalti.training.training_kind import AnyKind, AnyModel, SizedModel

__all__ = ["KINDS", "PROFILES", "kind_of_profile", "load_model", "takes_any_size"]

KINDS: tuple[AnyKind, ...] = (
    PaperTraining(),
    PyramidTraining(),
    PhotoTraining(),
    PixelTraining(),
    LosslessTraining(),
)

PROFILES: dict[str, AnyKind] = {profile: kind for kind in KINDS for profile in kind.profiles}


def kind_of_profile(profile: str) -> AnyKind:
    """Return the model kind of a profile; UsageError for an unknown profile."""
    if profile not in PROFILES:
        raise UsageError(f"unknown profile {profile!r}: choose one of auto, {', '.join(PROFILES)}")
    return PROFILES[profile]


def takes_any_size(model: AnyModel) -> TypeGuard[SizedModel]:
    """Return whether a model takes images of all sizes of its channels and dtype."""
    return kind_of_profile(model.settings.profile).any_size


def load_model(path: Path, device: str = "cpu") -> AnyModel:
    """Read a model that `smalti fit` wrote; ModelError if the file is missing, foreign, damaged or of another version.

    device : the device for encoding, for kinds that can use one
    """
    stored = stored_format(path)
    kind = next((kind for kind in KINDS if kind.model_format == stored), KINDS[0])
    return kind.load(path, device)
