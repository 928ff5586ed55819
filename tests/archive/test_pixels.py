"""Archives of the kind `pixels`: all that their checksums and limits say."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import smalti
from helpers.tiny_pixels import random_prior, random_tokens, write_pixels
from smalti.archive.format.limits import Limits
from smalti.archive.read.reader import open_archive
from smalti.archive.write.sized_writer import SizedArchiveWriter, SizedSpec
from smalti.errors import LimitExceededError, SmaltiError

SIZES = [(1, 1), (7, 9), (30, 31), (45, 50), (8, 8), (8, 8), (1, 100), (9, 1), (16, 24)]


@pytest.mark.parametrize("counts", [(7,), (6, 4), (3, 4, 5), (3, 1, 4, 5)], ids=len)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_images_come_back_whole_and_in_parts(tmp_path, counts, dtype):
    prior = {"counts": counts, "dtype": dtype, "hides": len(counts) in (2, 4)}
    made = write_pixels(tmp_path / "a.smalti", SIZES, seed=len(counts), prior=prior)
    with smalti.open(made.path) as archive:
        found = archive.images(slice(None))
        for ours, theirs in zip(found, made.pixels, strict=True):
            assert ours.dtype == dtype and (ours.reshape(theirs.shape) == theirs).all()
        part = archive.region(3, slice(11, 40), slice(20, 47))
        assert (part.reshape(29, 27, len(counts)) == made.pixels[3][11:40, 20:47]).all()
        assert archive.verify("pixels").ok


def test_threads_change_nothing(tmp_path):
    rng = np.random.default_rng(0)
    prior, sizes = random_prior(rng, (5, 6, 4)), np.array(SIZES)
    tokens = random_tokens(rng, prior.model, int(sizes.prod(axis=1).sum()))
    written = []
    for threads in (1, 3):
        path = tmp_path / f"{threads}.smalti"
        spec = SizedSpec("photo", block_cells=900, region=20)
        with SizedArchiveWriter(path, spec, prior.model, prior, threads=threads) as writer:
            writer.append(tokens, sizes)
            writer.commit()
        written.append(path.read_bytes())
        with open_archive(path, threads=threads) as archive:
            written[-1] += b"".join(image.tobytes() for image in archive.images(slice(None)))
    assert written[0] == written[1]


def write_small(path):
    """Two images in two blocks, with alpha."""
    prior = {"counts": (3, 2), "radius": 1, "width": 2, "edges": (1, 1, 1), "hides": True}
    return write_pixels(path, [(5, 7), (6, 6)], prior=prior, block_cells=40, region=5).path


def test_flipped_bytes_are_detected(tmp_path):
    """Each thirteenth; `acceptance.check_damage` flips every byte of a file."""
    data = write_small(tmp_path / "a.smalti").read_bytes()
    path, unnoticed = tmp_path / "b.smalti", []
    for at in range(0, len(data), 13):
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
        prior = archive.cells.prior
        numbers = 2 * 4 * 2 + 3 * 2 + 4 * 2 + 2 * (2 + 4 + 2) + 3 * (2 + 15 + 3 + 20)
        needed = {"network_operations": 36 * prior.operations, "block_bytes": 36 * prior.cell_bytes}
        needed["model_bytes"] = 8 * numbers
    for name, value in needed.items():
        with open_archive(path, replace(Limits(), **{name: value - 1})) as archive, pytest.raises(LimitExceededError):
            archive.images([0])
        with open_archive(path, replace(Limits(), **{name: value})) as archive:
            assert archive.images([0])[0].shape == (5, 7, 2)


def peak_of(work):
    """The most memory that it takes."""
    tracemalloc.start()
    try:
        result = work()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 90_000), (90_000, 1), (300, 300), (3, 4)], ids=str)
def test_walks_take_no_more_memory_than_the_limit_counts(size, channels):
    prior = random_prior(np.random.default_rng(0), (2,) * channels, 8, 2, 0)
    pixels = 90_000
    grids = np.array([size] * (pixels // (size[0] * size[1])), np.int64)

    def begin():
        walk = prior.walk(grids)
        return walk, next(walk.steps())

    (walk, _), peak = peak_of(begin)
    assert len(walk.levels) == pixels and peak < prior.cell_bytes * pixels + (8 << 20)


@pytest.mark.parametrize(("counts", "radius"), [((2, 2, 2, 2), 8), ((4096,), 1)])
def test_decoding_takes_little_more_than_the_limit_counts(counts, radius):
    """Besides what the steps of one piece take, which does not grow with the block nor with the levels."""
    rng, grids = np.random.default_rng(0), np.ones((8_000, 2), np.int64)
    prior = random_prior(rng, counts, radius, 2, 0, (1, 1, 1), dtype="uint16")
    tokens = random_tokens(rng, prior.model, 8_000)
    data, packing = peak_of(lambda: prior.encode(tokens, grids))
    found, reading = peak_of(lambda: prior.decode(data, grids))
    assert (found == tokens).all()
    assert max(packing, reading) < prior.cell_bytes * len(tokens) + (20 << 20)
