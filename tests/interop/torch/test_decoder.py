from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import smalti
from archive.test_pyramid import made_up
from helpers.made_up_archives import random_network, write
from helpers.tiny_pixels import write_pixels
from helpers.transform_archives import write_transform
from smalti.archive.collection.collection_writer import write_collection
from smalti.errors import UsageError
from smalti.interop.torch.dataset import ArchiveDataset

GOLDEN = Path(__file__).parents[3] / "conformance" / "golden"


def both(path, **arguments):
    """All images in batches, and the images that a decoder makes of their tokens."""
    images = DataLoader(ArchiveDataset(path, labels=False, **arguments), batch_size=32)
    dataset = ArchiveDataset(path, labels=False, tokens=True, **arguments)
    decode = dataset.decoder()
    return torch.cat(list(images)), torch.cat([decode(tokens) for tokens in DataLoader(dataset, batch_size=48)])


def same(path, **arguments):
    wanted, got = both(path, **arguments)
    assert wanted.float().std() > 0
    return got.dtype == wanted.dtype and got.equal(wanted)


def test_decoded_tokens_are_the_images(grey, colour):
    assert same(grey.path)
    assert same(colour.path)


@pytest.mark.parametrize("name", ["named", "plain", "recoverable"])
def test_of_golden_files(name):
    assert same(GOLDEN / f"format-1-{name}.smalti")


def test_of_hierarchical_tokens(tmp_path):
    path = made_up(tmp_path / "a.smalti", 0, 70, block_images=30).path
    with smalti.open(path) as archive:
        assert archive.info().decoder == "pyramid"
    assert same(path)


def test_they_lie_in_memory_as_images_do(grey, colour):
    """Otherwise a network would add the same values in another order."""
    for path in (grey.path, colour.path, GOLDEN / "format-1-recoverable.smalti"):
        dataset = ArchiveDataset(path, labels=False, tokens=True)
        images = dataset.decoder()(dataset[[0, 1, 2]])
        assert images.stride() == ArchiveDataset(path, labels=False)[[0, 1, 2]].stride()


def test_floats_are_those_of_the_images(grey):
    assert same(grey.path, dtype=torch.float32)
    assert same(grey.path, dtype=torch.bfloat16)


@pytest.mark.parametrize("name", ["corrected", "digits", "pyramid"])
def test_corrected_images_are_more_than_tokens(name):
    dataset = ArchiveDataset(GOLDEN / f"format-1-{name}.smalti", tokens=True)
    assert len(dataset[[0, 5]][0]) == 2  # the tokens are there all the same
    with pytest.raises(UsageError, match="tokens alone do not hold"):
        dataset.decoder()


def test_impossible_tokens(grey):
    decode = ArchiveDataset(grey.path, tokens=True).decoder()
    good = torch.from_numpy(grey.tokens.astype(np.int32))
    for wrong in (good * 0 + 7, good * 0, good - 8, good + 70_000):  # 0 and 7 are codes that no image uses
        with pytest.raises(UsageError, match="codes in use"):
            decode(wrong)
    for wrong in (good[0], good.float()):
        with pytest.raises(UsageError, match="not integers"):
            decode(wrong)


def member(path, low, high, seed=0):
    """An archive that uses codes low to high - 1 of a network."""
    tokens = np.random.default_rng(high).integers(low, high, (30, 2, 3))
    return write(path, tokens, random_network(seed=seed), block_images=20)


def collection(path, *members):
    write_collection(path, [partial(smalti.archive.read.reader.open_archive, one) for one in members])
    return path


def test_of_a_collection_whose_members_use_different_codes(tmp_path):
    members = member(tmp_path / "a.smalti", 1, 4), member(tmp_path / "b.smalti", 3, 8)
    assert same(collection(tmp_path / "all.smalti", *members))


def test_a_collection_of_several_models_is_refused(tmp_path):
    for number, other in enumerate([member(tmp_path / "b.smalti", 0, 5, seed=1), GOLDEN / "format-1-corrected.smalti"]):
        path = collection(tmp_path / f"{number}.smalti", member(tmp_path / f"a{number}.smalti", 0, 5), other)
        with pytest.raises(UsageError, match="several"):
            ArchiveDataset(path, tokens=True).decoder()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_transforms_of_one_size_are_decoded(tmp_path, dtype):
    made = write_transform(tmp_path / "a.smalti", [(21, 13)] * 9, np.arange(9), dtype=dtype, grid=(3, 2))
    with ArchiveDataset(made.path, tokens=True) as dataset:
        tokens, labels = dataset[[7, 2, 3]]
        assert tokens.shape == (3, 3, 2, 7) and labels.tolist() == [7, 2, 3]
        images = dataset.decoder()(tokens)
        assert (images.permute(0, 2, 3, 1).numpy() == np.stack([made.pixels[n] for n in (7, 2, 3)])).all()
        for wrong in (tokens[:, :2], tokens[..., :5], tokens[0]):
            with pytest.raises(UsageError, match="tokens"):
                dataset.decoder()(wrong)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pixels_of_one_size_are_decoded(tmp_path, dtype):
    prior = {"counts": (5, 3, 4, 3), "dtype": dtype, "hides": True}
    made = write_pixels(tmp_path / "a.smalti", [(11, 13)] * 9, np.arange(9), prior=prior)
    with ArchiveDataset(made.path, tokens=True) as dataset:
        tokens, labels = dataset[[7, 2, 3]]
        assert tokens.shape == (3, 11, 13, 4) and labels.tolist() == [7, 2, 3]
        images = dataset.decoder()(tokens)
        assert (images.permute(0, 2, 3, 1).numpy() == np.stack([made.pixels[n] for n in (7, 2, 3)])).all()
        for wrong in (tokens[:, :2], tokens[..., :3], tokens[0], tokens.to(torch.int64) + 5):
            with pytest.raises(UsageError, match="tokens"):
                dataset.decoder()(wrong)


def test_transforms_of_several_sizes_are_refused(tmp_path):
    made = write_transform(tmp_path / "a.smalti", [(21, 13), (8, 8)])
    with pytest.raises(UsageError, match="several sizes"):
        ArchiveDataset(made.path, tokens=True)
    with ArchiveDataset(made.path) as dataset, pytest.raises(UsageError, match="several sizes"):
        dataset.decoder()


def test_members_of_a_collection_of_transforms_share_their_model(tmp_path):
    parts = [write_transform(tmp_path / f"{n}.smalti", [(16, 16)] * (n + 2), seed=n // 2) for n in range(3)]
    for number, (first, second) in enumerate([(0, 1), (1, 2)]):
        path = tmp_path / f"both-{number}.smalti"
        smalti.merge([parts[first].path, parts[second].path], path)
        with ArchiveDataset(path, tokens=True) as dataset:
            if number:
                with pytest.raises(UsageError, match="several models"):
                    dataset.decoder()
            else:
                images = dataset.decoder()(dataset[:])
                assert (images.permute(0, 2, 3, 1).numpy() == np.stack(parts[0].pixels + parts[1].pixels)).all()
