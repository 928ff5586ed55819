from types import SimpleNamespace

import numpy as np
import pytest

from helpers.made_up_archives import one_layer_network, random_tokens, write
from smalti.decoders.grid.integer_decoder import IntegerDecoder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The smallest archive with three blocks, labels and names, for damage to every byte."""
    network, tokens = one_layer_network(), random_tokens(8, (1, 2), 3)
    labels, names = np.arange(8) % 3, tuple(f"{i}.png" for i in range(8))
    path = tmp_path_factory.mktemp("archives") / "tiny.smalti"
    write(path, tokens, network, labels, names, block_images=3)
    pixels = IntegerDecoder(network).decode(tokens)[..., 0]
    return SimpleNamespace(path=path, pixels=pixels, labels=labels, names=names)
