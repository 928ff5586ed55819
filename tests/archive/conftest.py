from types import SimpleNamespace

import numpy as np
import pytest

from smalti.floating import FloatDecoder

from .made_up import random_tokens, random_weights, write


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """An archive of 50 images of 7x11 in blocks of 20, with labels and names, and what it must give back."""
    weights, tokens = random_weights(), random_tokens(50)
    labels = np.arange(50) % 3 - 1
    names = [f"ordner/{'äß日'[i % 3]}{i}.png" for i in range(50)]
    path = tmp_path_factory.mktemp("archives") / "small.smalti"
    write(path, tokens, weights, labels, names, image_shape=(7, 11, 1), block_images=20, class_names=("x", "y", "ζ"))
    # chunks of 16 are counted from the start of each block of 20
    pixels = np.concatenate([FloatDecoder(weights).decode(tokens[start : start + 20]) for start in (0, 20, 40)])
    return SimpleNamespace(
        path=path, weights=weights, tokens=tokens, labels=labels, names=tuple(names), pixels=pixels[:, :7, :11, 0]
    )
