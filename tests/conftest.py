"""What several packages of tests share: real digits, as an array and as class folders of files, and a fitted model."""

import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

DIGITS = 64

# A busy machine is no failure, and the same commit gives the same result: examples come from fixed seeds.
# `pytest --hypothesis-profile=fresh` looks at new ones.
settings.register_profile("fixed", deadline=None, derandomize=True)
settings.register_profile("fresh", deadline=None, derandomize=False, print_blob=True)
settings.load_profile("fixed")

# What runs in the background of a script ignores Ctrl-C, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def digits():
    """The first MNIST test images and their labels: images uint8 [64, 28, 28], labels int64 [64]."""
    with np.load(Path(__file__).parent / "data" / "mnist_slice.npz") as stored:
        return SimpleNamespace(images=stored["images"][:DIGITS], labels=stored["labels"][:DIGITS])


@pytest.fixture(scope="session")
def folder(digits, tmp_path_factory):
    """The digits as PNG files in ten class folders, "digit 0" to "digit 9"; their order by path."""
    root = tmp_path_factory.mktemp("photos")
    names = [f"digit {label}/{number:03}.png" for number, label in enumerate(digits.labels)]
    for name, pixels in zip(names, digits.images, strict=True):
        (root / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(root / name)
    order = sorted(range(DIGITS), key=lambda index: names[index])
    return SimpleNamespace(
        path=root,
        names=tuple(names[index] for index in order),
        images=digits.images[order],
        labels=digits.labels[order],
    )


@pytest.fixture(scope="session")
def model(digits):
    """A tiny model of digits with every cure, among them codes of fewer dimensions than latents."""
    from helpers.tiny_fits import fit_small, tiny_settings  # noqa: PLC0415
    from smalti.training.paper.settings import QuantizerSettings  # noqa: PLC0415 (torch: not for the tests of lower layers)

    quantizer = QuantizerSettings(codebook_size=16, update="ema", start="kmeans", restart=True, code_dim=2)
    return fit_small(tiny_settings(quantizer, epochs=5), digits.images[..., None])


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """An archive of 50 images of 7x11 in blocks of 20, with labels and names, and what it must give back."""
    from helpers.made_up_archives import random_network, random_tokens, write  # noqa: PLC0415
    from smalti.decoders.grid.integer_decoder import IntegerDecoder  # noqa: PLC0415

    network, tokens = random_network(), random_tokens(50)
    labels = np.arange(50) % 3 - 1
    names = [f"ordner/{'äß日'[i % 3]}{i}.png" for i in range(50)]
    path = tmp_path_factory.mktemp("archives") / "small.smalti"
    write(path, tokens, network, labels, names, image_shape=(7, 11, 1), block_images=20, class_names=("x", "y", "ζ"))
    pixels = IntegerDecoder(network).decode(tokens)[:, :7, :11, 0]
    return SimpleNamespace(path=path, network=network, tokens=tokens, labels=labels, names=tuple(names), pixels=pixels)
