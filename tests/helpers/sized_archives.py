"""Archives of images of any sizes, of the stub kind `cells`."""

from types import SimpleNamespace

import numpy as np

from decoders.cell_kind import CellsModel, CellsPrior
from smalti.archive.read.reader import open_archive
from smalti.archive.write.sized_writer import SizedArchiveWriter, SizedSpec
from smalti.errors import DamagedArchiveError, SmaltiError

SIZES = [(1, 1), (1, 50), (7, 9), (64, 64), (120, 75), (8, 8), (8, 8), (31, 100), (9, 1), (16, 24)]


def random_images(sizes=SIZES, channels=1, dtype=np.uint8, seed=1):
    """Images [H, W, C] of smooth noise."""
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    return [rng.integers(0, top, (height, width, channels), dtype, endpoint=True) for height, width in sizes]


def write_sized(path, images, labels=None, names=None, fields=None, reach=1, batch=7, **spec):
    """Write an archive of images [H, W, C], small blocks by default. Returns path, model and the decoded images."""
    model = CellsModel(images[0].shape[2], bits=8 * images[0].dtype.itemsize, reach=reach)
    spec = SizedSpec(**{"profile": "test", "block_cells": 30, "region": 4} | spec)
    with SizedArchiveWriter(path, spec, model, CellsPrior(model.tokens_per_cell)) as writer:
        for start in range(0, len(images), batch):
            part = slice(start, start + batch)
            tokens, sizes = model.tokens(images[part])
            writer.append(
                tokens,
                sizes,
                None if labels is None else np.asarray(labels)[part],
                None if names is None else names[part],
                None if fields is None else {name: values[part] for name, values in fields.items()},
            )
        writer.commit()
    pixels = model.decoded(images)
    return SimpleNamespace(path=path, model=model, pixels=pixels, images=images, labels=labels, names=names)


def same(found, expected):
    """Whether an image, without an axis of one channel, is that of [H, W, C]."""
    return np.array_equal(found, expected[..., 0] if expected.shape[2] == 1 else expected)


def lost_by(made, path, content):
    """Whether damage is noticed, and which images are lost; all others must be as they were written."""
    path.write_bytes(content)
    try:
        archive = open_archive(path)
    except SmaltiError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
        return True, set(range(len(made.pixels)))
    with archive:
        report = archive.verify()
        try:
            batches = list(archive.batches(64, on_error="skip"))
        except DamagedArchiveError as error:
            assert "no image can be decoded without it" in str(error)
            return True, set(range(len(made.pixels)))
        for batch in batches:
            assert (batch.pixels == [made.pixels[number] for number in batch.numbers]).all()
            assert batch.labels is None or (batch.labels == made.labels[batch.numbers]).all()
        lost = set(range(len(made.pixels))) - {number for batch in batches for number in batch.numbers.tolist()}
        named = {
            number
            for block in archive.missing()
            for number in range(block.first_image, block.first_image + block.images)
        }
        assert lost == named and report.damaged_images == len(lost)
        return not report.ok, lost
