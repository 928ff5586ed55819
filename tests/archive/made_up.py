"""Small archives with random weights, for the tests of this folder."""

import numpy as np

from smalti.archive import ArchiveSpec, ArchiveWriter
from smalti.floating import DecoderWeights


def random_weights(codes=8, channels=1, code_dim=2, hidden=2, seed=0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32)

    return DecoderWeights(
        draw(codes, code_dim), draw(code_dim, hidden, 4, 4), draw(hidden), draw(hidden, channels, 4, 4), draw(channels)
    )


def random_tokens(images, grid=(2, 3), codes=8, seed=1):
    """Tokens that leave codes 0 and the highest unused when there are more than three."""
    low, high = (1, codes - 1) if codes > 3 else (0, codes)
    return np.random.default_rng(seed).integers(low, high, (images, *grid))


def write(path, tokens, weights, labels=None, names=None, overwrite=False, batch=7, **fields):
    """Write an archive in batches; `fields` go to ArchiveSpec."""
    grid = tokens.shape[1:]
    settings = {
        "image_shape": (4 * grid[0], 4 * grid[1], weights.channels),
        "token_grid": grid,
        "codebook_size": weights.codes,
        "profile": "test",
    }
    with ArchiveWriter(path, ArchiveSpec(**(settings | fields)), weights, overwrite) as writer:
        for start in range(0, len(tokens), batch):
            part = slice(start, start + batch)
            writer.append(
                tokens[part], None if labels is None else labels[part], None if names is None else names[part]
            )
        writer.commit()
    return path
