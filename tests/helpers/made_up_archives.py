"""Small archives of one codebook on a grid, with random networks and tokens."""

import numpy as np

from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.writer import ArchiveWriter
from smalti.decoders.layers.integer_network import Clip, IntegerNetwork, Layer, PixelTable


def layer(rng, kind, inputs, kernel, outputs, stride, padding, activation, low=-9, high=10):
    weight = rng.integers(low, high, (inputs, *kernel, outputs)).astype(np.int16)
    bias = rng.integers(-40, 200, outputs).astype(np.int32)
    return Layer(kind, weight, bias, np.full(outputs, 2, np.uint8), stride, padding, activation)


def random_network(codes=8, channels=1, hidden=2, seed=0, scale=2):
    """Return two transposed convolutions, with `scale`**2 pixels a side for each token."""
    rng = np.random.default_rng(seed)
    table = PixelTable(-128, np.arange(256, dtype=np.uint8))
    kernel, around = (2 * scale,) * 2, {"stride": (scale, scale), "padding": (scale // 2, scale // 2)}
    return IntegerNetwork(
        (
            layer(rng, "tokens", codes, kernel, hidden, activation=Clip(0, 255), low=-400, high=400, **around),
            layer(rng, "up", hidden, kernel, channels, activation=table, **around),
        )
    )


def one_layer_network(codes=3, seed=0):
    """Return the smallest kind of network, with two by two pixels for each token."""
    rng = np.random.default_rng(seed)
    table = PixelTable(-128, np.arange(256, dtype=np.uint8))
    return IntegerNetwork((layer(rng, "tokens", codes, (2, 2), 1, (2, 2), (0, 0), table, -400, 400),))


def random_tokens(images, grid=(2, 3), codes=8, seed=1):
    """Return random tokens. With more than three codes, they do not use code 0 and the highest code."""
    low, high = (1, codes - 1) if codes > 3 else (0, codes)
    return np.random.default_rng(seed).integers(low, high, (images, *grid))


def write(path, tokens, network, labels=None, names=None, overwrite=False, batch=7, **fields):
    """Write an archive in batches; `fields` go to ArchiveSpec."""
    grid = tokens.shape[1:]
    settings = {
        "image_shape": (*network.output_size(grid), network.channels),
        "token_grid": grid,
        "codebook_size": network.codes,
        "profile": "test",
    }
    with ArchiveWriter(path, ArchiveSpec(**(settings | fields)), network, overwrite) as writer:
        for start in range(0, len(tokens), batch):
            part = slice(start, start + batch)
            writer.append(
                tokens[part], None if labels is None else labels[part], None if names is None else names[part]
            )
        writer.commit()
    return path
