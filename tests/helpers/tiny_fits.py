"""Small images, and fits of the profile `paper` in fractions of a second."""

import numpy as np
import torch

from smalti.decoders.layers.network_packing import pack_network
from smalti.sources.open import open_source
from smalti.training.common.training_images import TrainingImages
from smalti.training.observer import SilentObserver
from smalti.training.paper.fit_grid import fit
from smalti.training.paper.settings import FitSettings, QuantizerSettings

torch.set_num_threads(1)  # networks this small gain nothing from more

CURED = QuantizerSettings(codebook_size=12, update="ema", start="kmeans", restart=True, code_dim=2)


def small_images(count=60, height=8, width=8, channels=1, seed=0):
    """Return smooth blobs at random centres: uint8 [count, height, width, channels]."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    centre = rng.uniform(0, [[height, width]], (count, 2))
    distance = (rows - centre[:, :1, None]) ** 2 + (columns - centre[:, 1:, None]) ** 2
    tint = rng.integers(100, 256, (count, 1, 1, channels))
    return (np.exp(-distance / 8)[..., None] * tint).astype(np.uint8)


def tiny_settings(quantizer=None, **fields):
    """Return the settings of a network with a few hundred weights."""
    defaults = {"hidden_channels": 8, "latent_channels": 4, "epochs": 2, "batch_images": 16, "learning_rate": 5e-3}
    return FitSettings(quantizer=quantizer or QuantizerSettings(codebook_size=12), **(defaults | fields))


def training_images(pixels):
    return TrainingImages(open_source(pixels))


def fit_small(settings, pixels=None, **arguments):
    """Fit on small images, with the first 20 for validation; return the model."""
    pixels = small_images() if pixels is None else pixels
    return fit(training_images(pixels), pixels[:20], settings, **arguments)


class StopAt(SilentObserver):
    """Stops a fit of any kind after a number of steps, counted from this call."""

    def __init__(self, steps):
        self.left = steps

    def on_step(self, stage, done, total):
        self.left -= stage == "fit"

    def should_stop(self):
        return self.left == 0


def weights(model):
    return {name: value.clone() for name, value in model.network.state_dict().items()}


def same_weights(one, other):
    first, second = weights(one), weights(other)
    same = first.keys() == second.keys() and all(first[name].equal(second[name]) for name in first)
    return same and pack_network(one.decoder) == pack_network(other.decoder)


def without_seconds(history):
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history]
