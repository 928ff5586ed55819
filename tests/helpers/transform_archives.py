"""Archives of made-up transforms."""

from types import SimpleNamespace

import numpy as np

from helpers.transforms import possible_tokens, random_prior, random_transform
from smalti.archive.write.sized_writer import SizedArchiveWriter, SizedSpec
from smalti.decoders.transform.transform_model import TransformModel


def write_transform(path, sizes, labels=None, names=None, seed=0, channels=3, dtype="uint8", grid=(0, 0), **spec):
    """Write an archive of images of these sizes [n, 2], from made-up tokens of cells of 8 x 8."""
    rng = np.random.default_rng(seed)
    model = TransformModel(random_transform(rng, channels, dtype=dtype))
    prior = random_prior(rng, (1, 2, 4), grid=grid)
    prior.network.scale_bias[:] += 1 << 15  # nothing is certain, since the units of a large image are not known here
    prior.network.first.scale_bias[:] += 1 << 15
    sizes = np.array(sizes, np.int64)
    grids = -(-sizes // 8)
    tokens = possible_tokens(rng, prior, grids, far=0.01)
    spec = SizedSpec(**{"profile": "photo", "block_cells": 30, "region": 4} | spec)
    with SizedArchiveWriter(path, spec, model, prior) as writer:
        ends = np.cumsum(grids.prod(axis=1))
        for number, own in enumerate(np.split(tokens, ends[:-1])):
            part = slice(number, number + 1)
            writer.append(own, sizes[part], None if labels is None else labels[part], names and names[part])
        writer.commit()
    decoded = model.decode(tokens, grids, 1)
    pixels = [image[:height, :width] for image, (height, width) in zip(decoded, sizes.tolist(), strict=True)]
    return SimpleNamespace(path=path, model=model, prior=prior, tokens=tokens, grids=grids, pixels=pixels)
