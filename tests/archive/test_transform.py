"""Archives of the kind `transform`: all that their checksums and limits say."""

from dataclasses import replace

import numpy as np
import pytest

import smalti
from decoders.transform.test_transform_specification import example, example_prior
from helpers.transform_archives import write_transform
from helpers.transforms import possible_tokens
from smalti.archive.format.limits import Limits
from smalti.archive.read.reader import open_archive
from smalti.archive.write.sized_writer import SizedArchiveWriter, SizedSpec
from smalti.decoders.transform.transform_model import TransformModel
from smalti.errors import LimitExceededError, SmaltiError

SIZES = [(1, 1), (7, 9), (64, 64), (120, 75), (8, 8), (8, 8), (31, 100), (9, 1), (16, 24)]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_images_come_back_whole_and_in_parts(tmp_path, channels, dtype):
    made = write_transform(tmp_path / "a.smalti", SIZES, channels=channels, dtype=dtype, seed=channels, grid=(2, 3))
    with smalti.open(made.path) as archive:
        found = archive.images(slice(None))
        for ours, theirs in zip(found, made.pixels, strict=True):
            assert ours.dtype == dtype and (ours.reshape(theirs.shape) == theirs).all()
        part = archive.region(3, slice(31, 90), slice(40, 71))
        assert (part.reshape(59, 31, channels) == made.pixels[3][31:90, 40:71]).all()
        assert archive.verify("pixels").ok


def write_small(path):
    """An archive of the example of docs/format.md: two images in two blocks."""
    model, prior, grids = TransformModel(example()), example_prior(), np.array([(1, 2), (2, 1)])
    tokens = possible_tokens(np.random.default_rng(0), prior, grids)
    with SizedArchiveWriter(path, SizedSpec("photo", block_cells=2, region=1), model, prior) as writer:
        writer.append(tokens, np.array([(7, 12), (9, 8)]))
        writer.commit()
    return path


def test_flipped_bytes_are_detected(tmp_path):
    """Each eleventh; `acceptance.check_damage` flips every byte of a file."""
    data = write_small(tmp_path / "a.smalti").read_bytes()
    path, unnoticed = tmp_path / "b.smalti", []
    for at in range(0, len(data), 11):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        try:
            with open_archive(path) as archive:
                if archive.verify("pixels").ok:
                    unnoticed.append(at)
        except SmaltiError:
            continue
    assert not unnoticed


def test_limits_count_blocks(tmp_path):
    path = write_small(tmp_path / "a.smalti")
    with open_archive(path) as archive:
        prior, network = archive.cells.prior, archive.cells.model.network
        most = max(prior.operations, network.operations)
        needed = {"network_operations": 2 * most, "block_bytes": 2 * prior.cell_bytes, "model_bytes": 8 * 2 * 64}
    for name, value in needed.items():
        with open_archive(path, replace(Limits(), **{name: value - 1})) as archive, pytest.raises(LimitExceededError):
            archive.images([0])
        if name != "model_bytes":
            with open_archive(path, replace(Limits(), **{name: value})) as archive:
                assert archive.images([0])[0].shape == (7, 12)
