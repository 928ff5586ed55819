from types import SimpleNamespace

import numpy as np
import pytest

import smalti
from helpers.made_up_archives import random_network, random_tokens, write


@pytest.fixture(scope="package")
def grey(tmp_path_factory):
    """An archive of 130 images of 7x11 in blocks of 20, with labels, and its images."""
    path = tmp_path_factory.mktemp("archives") / "grey.smalti"
    fields = {"image_shape": (7, 11, 1), "block_images": 20, "class_names": ("x", "y", "z")}
    write(path, random_tokens(130), random_network(), np.arange(130) % 3, **fields)
    with smalti.open(path) as archive:
        return SimpleNamespace(path=path, pixels=archive[:], tokens=archive.tokens(), labels=archive.labels)


@pytest.fixture(scope="package")
def colour(tmp_path_factory):
    """The same with three channels and without labels."""
    path = tmp_path_factory.mktemp("archives") / "colour.smalti"
    write(path, random_tokens(50), random_network(channels=3), image_shape=(8, 11, 3), block_images=20)
    with smalti.open(path) as archive:
        return SimpleNamespace(path=path, pixels=archive[:], tokens=archive.tokens())
