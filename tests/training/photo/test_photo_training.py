"""The choice of `photo` between coefficients of a transform and levels of pixels."""

from types import SimpleNamespace

import numpy as np
import pytest

from helpers.tiny_pixel_fits import drawing
from smalti.errors import UsageError
from smalti.images.sized import as_sized
from smalti.sources.arrays.array_source import ArraySource
from smalti.training.common.goal import Goal
from smalti.training.observer import SilentObserver
from smalti.training.photo.photo_forecast import forecast_photo
from smalti.training.photo.photo_training import PhotoTraining
from smalti.training.pixels.pixel_settings import PixelSettings
from smalti.training.training_kind import FitOptions
from smalti.training.transform.transform_settings import TransformSettings


def shapes(channels=1, dtype=np.uint8):
    """Sharp-edged shapes of few colours."""
    return as_sized(ArraySource(np.stack([drawing(40, 40, channels, seed, dtype) for seed in range(40)])))


def gradients(channels=1, dtype=np.uint8):
    """Smooth gradients without noise."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:40, :40] / 40
    images = []
    for _ in range(40):
        waves = [
            np.sin(a * rows + b * columns + c) + rows * d for a, b, c, d in rng.uniform(-3, 3, (channels, 4)).tolist()
        ]
        image = np.stack(waves, 2)
        images.append(((image - image.min()) / np.ptp(image) * np.iinfo(dtype).max).astype(dtype))
    return as_sized(ArraySource(np.stack(images)))


def settings(psnr=36, **fields):
    return TransformSettings("photo", Goal.of_psnr(psnr), **({"effort": 3} | fields))


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (3, np.uint8), (1, np.uint16)])
def test_drawings_take_pixels_and_gradients_take_a_transform(channels, dtype):
    drawn, smooth = (forecast_photo(source(channels, dtype), settings()) for source in (shapes, gradients))
    assert drawn.takes_pixels and drawn.chosen is drawn.pixels
    assert not smooth.takes_pixels and smooth.chosen is smooth.transform
    assert drawn.words().startswith("tokens of the kind pixels: about") and "kind transform" in smooth.words()
    assert f"{drawn.transform.archive_bytes:,} with the other kind" in drawn.words()


class Recorder(SilentObserver):
    """Keeps messages."""

    def __init__(self):
        self.messages = []

    def on_message(self, text):
        self.messages.append(text)


def test_the_chosen_kind_is_fitted(monkeypatch):
    photo, fitted = PhotoTraining(), []
    for name in ("_pixels", "_transform"):
        stub = SimpleNamespace(fit=lambda source, own, options, observer, name=name: fitted.append((name, own)))
        monkeypatch.setattr(photo, name, stub)
    observer = Recorder()
    for source in (shapes(), gradients()):
        photo.fit(source, settings(effort=2, seed=5, optimised=False), FitOptions(), observer)
    (first, own), (second, others) = fitted
    assert (first, second) == ("_pixels", "_transform")
    assert own == PixelSettings("photo", Goal.of_psnr(36), 2, 5, optimised=False)
    assert others == settings(effort=2, seed=5, optimised=False)
    assert ["kind pixels" in text for text in observer.messages] == [True, False]


def test_several_processes_are_refused_without_a_forecast():
    observer = Recorder()
    with pytest.raises(UsageError, match="one process"):
        PhotoTraining().fit(shapes(), settings(), FitOptions(group=SimpleNamespace(size=2)), observer)
    assert observer.messages == []
