from types import SimpleNamespace

import numpy as np
import pytest

from helpers.made_up_archives import one_layer_network, random_network, random_tokens, write
from smalti.decoders.grid.integer_decoder import IntegerDecoder


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """An archive of 50 images of 7x11 in blocks of 20, with labels and names, and its expected contents."""
    network, tokens = random_network(), random_tokens(50)
    labels = np.arange(50) % 3 - 1
    names = [f"ordner/{'äß日'[i % 3]}{i}.png" for i in range(50)]
    path = tmp_path_factory.mktemp("archives") / "small.smalti"
    write(path, tokens, network, labels, names, image_shape=(7, 11, 1), block_images=20, class_names=("x", "y", "ζ"))
    pixels = IntegerDecoder(network).decode(tokens)[:, :7, :11, 0]
    return SimpleNamespace(path=path, network=network, tokens=tokens, labels=labels, names=tuple(names), pixels=pixels)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The smallest archive with three blocks, labels and names, for damage to every byte."""
    network, tokens = one_layer_network(), random_tokens(8, (1, 2), 3)
    labels, names = np.arange(8) % 3, tuple(f"{i}.png" for i in range(8))
    path = tmp_path_factory.mktemp("archives") / "tiny.smalti"
    write(path, tokens, network, labels, names, block_images=3)
    pixels = IntegerDecoder(network).decode(tokens)[..., 0]
    return SimpleNamespace(path=path, pixels=pixels, labels=labels, names=names)
