import pickle
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

import smalti
from helpers.made_up_archives import random_network, random_tokens, write
from smalti.archive.collection import open_collection
from smalti.archive.collection.collection_writer import write_collection
from smalti.archive.edit.edit import write_manifest
from smalti.archive.read import store
from smalti.errors import ImageIndexError, SmaltiError, UsageError
from smalti.interop.torch.dataset import ArchiveDataset
from smalti.interop.torch.decoder import as_images

PICKED = [5, 129, 7, 5, -1, 64]


@pytest.fixture
def dataset(grey):
    with ArchiveDataset(grey.path) as opened:
        yield opened


def test_items_are_images_and_labels(grey, dataset):
    assert len(dataset) == 130 and dataset.class_names == ("x", "y", "z")
    image, label = dataset[21]
    assert image.dtype == torch.uint8 and (image.numpy() == grey.pixels[21][None]).all()
    assert type(label) is int and label == grey.labels[21]


def test_many_items_are_the_same_as_each_alone(dataset):
    for (image, label), number in zip(dataset.__getitems__(PICKED), PICKED, strict=True):
        alone = dataset[number]
        assert image.equal(alone[0]) and label == alone[1]


def test_a_list_gives_a_batch(grey, dataset):
    images, labels = dataset[PICKED]
    assert (images.numpy() == grey.pixels[PICKED][:, None]).all()
    assert labels.dtype == torch.int64 and labels.tolist() == grey.labels[PICKED].tolist()


def test_colour_without_labels(colour):
    dataset = ArchiveDataset(colour.path)
    images = dataset[[40, 3]]
    assert images.is_contiguous() and (images.numpy() == colour.pixels[[40, 3]].transpose(0, 3, 1, 2)).all()
    assert dataset[7].equal(dataset[[7]][0]) and dataset.class_names is None


def test_labels_may_be_omitted(grey):
    dataset = ArchiveDataset(grey.path, labels=False)
    assert dataset[3].shape == (1, 7, 11)
    assert dataset.class_names is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_floats_are_scaled_to_one(grey, dtype):
    image, _ = ArchiveDataset(grey.path, dtype=dtype)[4]
    expected = torch.from_numpy(grey.pixels[4] / 255)
    assert image.dtype == dtype and torch.allclose(
        image[0].double(), expected, atol=4e-3 if dtype.itemsize == 2 else 1e-7
    )


def test_sixteen_bits_are_scaled_by_their_own_largest():
    pixels = torch.from_numpy(np.array([0, 1, 257, 65_535], np.uint16).reshape(1, 2, 2))
    assert as_images(pixels, None).dtype == torch.uint16
    for dtype in (torch.float32, torch.float64, torch.float16):
        images = as_images(pixels, dtype)
        assert images.dtype == dtype
        assert torch.allclose(images.double().flatten(), torch.tensor([0, 1, 257, 65_535]).double() / 65_535, atol=1e-3)
    assert as_images(pixels, torch.float32).flatten()[1] == np.float32(1) / np.float32(65_535)


def test_integers_are_no_type_to_scale_to(grey):
    with pytest.raises(UsageError, match="int64"):
        ArchiveDataset(grey.path, dtype=torch.int64)


def negative(image):
    return 255 - image


def test_transforms(grey):
    dataset = ArchiveDataset(grey.path, transform=negative, target_transform=str)
    image, label = dataset[8]
    assert (image.numpy() == 255 - grey.pixels[8]).all() and label == str(grey.labels[8])
    images, labels = dataset[[8, 9]]
    assert images[0].equal(image) and list(labels) == [str(found) for found in grey.labels[8:10]]


@pytest.mark.parametrize("number", [130, -131, [0, 130]])
@pytest.mark.parametrize("tokens", [False, True])
def test_a_number_outside(grey, number, tokens):
    with pytest.raises(ImageIndexError, match="0 to 129"):
        ArchiveDataset(grey.path, tokens=tokens)[number]


@pytest.mark.parametrize("tokens", [False, True])
def test_a_batch_decodes_each_block_once_at_most(grey, monkeypatch, tokens):
    decoded = []
    unpack = store.unpack_block
    monkeypatch.setattr(
        store,
        "unpack_block",
        lambda data, images, *rest: decoded.append(images.start) or unpack(data, images, *rest),
    )
    dataset = ArchiveDataset(grey.path, tokens=tokens)
    dataset.__getitems__([3, 125, 19, 121, 0, 44])
    assert sorted(decoded) == [0, 40, 120]


def test_tokens_are_those_of_the_archive(grey):
    dataset = ArchiveDataset(grey.path, tokens=True)
    tokens, labels = dataset[PICKED]
    assert tokens.dtype == torch.int32 and (tokens.numpy() == grey.tokens[PICKED]).all()
    assert dataset[64][0].equal(tokens[-1]) and labels.tolist() == grey.labels[PICKED].tolist()
    assert dataset[[]][0].shape == (0, 2, 3)


def test_tokens_take_no_transform(grey):
    with pytest.raises(UsageError, match="tokens=True"):
        ArchiveDataset(grey.path, negative, tokens=True)


def test_pickled_it_opens_the_archive_again(grey, dataset, monkeypatch, tmp_path):
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 2000
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(pickled)
    assert again[3][0].equal(dataset[3][0]) and again.archive is not dataset.archive


def test_a_relative_path_survives_a_change_of_folder(grey, monkeypatch, tmp_path):
    monkeypatch.chdir(grey.path.parent)
    dataset = ArchiveDataset(grey.path.name)
    dataset.close()
    monkeypatch.chdir(tmp_path)
    assert len(dataset.__getitems__([0, 1])) == 2


def test_an_archive_that_was_replaced_is_refused(tmp_path):
    path = write(tmp_path / "a.smalti", random_tokens(30), random_network(), block_images=10)
    dataset = ArchiveDataset(path)
    dataset.close()
    write(path, random_tokens(31), random_network(), block_images=10, overwrite=True)
    with pytest.raises(SmaltiError, match="has been replaced"):
        dataset[0]


def test_whole_batches_without_collation(grey, dataset):
    sampler = BatchSampler(SequentialSampler(dataset), 32, drop_last=False)
    batches = list(DataLoader(dataset, batch_size=None, sampler=sampler))
    assert [len(images) for images, _ in batches] == [32, 32, 32, 32, 2]
    assert (torch.cat([images for images, _ in batches]).numpy()[:, 0] == grey.pixels).all()
    assert torch.cat([labels for _, labels in batches]).tolist() == grey.labels.tolist()


def test_closed_it_opens_again(dataset):
    first = dataset.archive
    dataset.close()
    with pytest.raises(SmaltiError, match="closed"):
        first[0]
    assert len(dataset[[0]][0]) == 1 and isinstance(dataset.archive, smalti.Archive)


def test_images_of_several_shapes_are_given_each_in_its_own(grey, colour, tmp_path):
    path = tmp_path / "both.smalti"
    write_collection(path, [partial(smalti.archive.read.reader.open_archive, one.path) for one in (grey, colour)])
    dataset = pickle.loads(pickle.dumps(ArchiveDataset(path, labels=False)))
    first, second = dataset.__getitems__([129, 133])
    assert (first.numpy() == grey.pixels[129][None]).all()
    assert (second.numpy() == colour.pixels[3].transpose(2, 0, 1)).all()
    alike = ArchiveDataset(path, transform=top_left, labels=False)
    assert next(iter(DataLoader(alike, batch_size=180))).shape == (180, 1, 4, 4)


def top_left(image):
    return image[:1, :4, :4]


def test_slices_masks_and_arrays_give_batches(grey, dataset):
    mask = np.arange(130) % 50 == 7
    for selection in (slice(2, 5), slice(None, None, -40), mask, torch.from_numpy(mask), np.array([3, 9])):
        images, labels = dataset[selection]
        chosen = np.asarray(selection) if isinstance(selection, torch.Tensor) else selection
        assert (images.numpy() == grey.pixels[chosen][:, None]).all()
        assert labels.tolist() == grey.labels[chosen].tolist()
    assert dataset[np.int64(21)][1] == dataset[21][1] and type(dataset[np.int64(21)][1]) is int
    with pytest.raises(UsageError, match="index"):
        dataset["3"]


def test_a_dataset_that_is_not_closed_ends_silently(grey):
    """It used to print a traceback from a file that was closed after Python had cleared its modules."""
    script = f"from smalti.interop.torch import ArchiveDataset; d = ArchiveDataset({str(grey.path)!r}); d[0]"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stderr == ""


def test_workers_do_not_open_the_members_again(tmp_path, monkeypatch):
    """A dataset of a manifest of M members used to open 2 M files, and M more in each process that read labels."""
    network, paths, opened = random_network(), [], []
    for number in range(70):
        tokens = random_tokens(2, seed=number)
        paths.append(write(tmp_path / f"{number}.smalti", tokens, network, np.full(2, number)))
    write_manifest(paths, tmp_path / "all.smalti-manifest")
    file_at = open_collection.file_at
    monkeypatch.setattr(
        open_collection, "file_at", lambda place, *rest: opened.append(str(place)) or file_at(place, *rest)
    )
    with ArchiveDataset(tmp_path / "all.smalti-manifest") as dataset:
        assert len(opened) == 1 + 70
        opened.clear()
        with pickle.loads(pickle.dumps(dataset)) as again:
            assert again[139][1] == 69 and again[[0, 3]][1].tolist() == [0, 1]
        assert len(opened) == 1 + 3
