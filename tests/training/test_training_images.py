import hashlib

import numpy as np
import pytest
import torch

from helpers.tiny_fits import small_images, training_images
from smalti.errors import SourceError
from smalti.storage.spooled_rows import SpooledRows
from smalti.training.common import training_images as module
from smalti.training.common.training_images import to_unit_range


def test_pixels_become_floats_from_0_to_1():
    pixels = np.arange(2 * 2 * 3 * 2, dtype=np.uint8).reshape(2, 2, 3, 2) * 11
    pixels.flags.writeable = False
    floats = to_unit_range(pixels)
    assert floats.dtype == torch.float32 and floats.shape == (2, 2, 2, 3)
    np.testing.assert_array_equal(floats.permute(0, 2, 3, 1).numpy() * np.float32(255), pixels)
    assert to_unit_range(np.full((1, 1, 1, 1), 255, np.uint8)).item() == 1


def test_an_epoch_is_every_image_once_in_an_order_of_seed_and_epoch():
    images = training_images(np.arange(50, dtype=np.uint8).reshape(50, 1, 1))

    def order(*which):
        return [round(255 * value) for batch in images.epoch(16, *which) for value in batch.flatten().tolist()]

    first = order(3, 0)
    assert sorted(first) == list(range(50)) and first != sorted(first)
    assert order(3, 0) == first and order(3, 1) != first and order(4, 0) != first
    assert order(3, 0, 2) == first[32:]
    assert images.steps_per_epoch(16) == 4 and [len(batch) for batch in images.epoch(16, 0, 0)] == [16, 16, 16, 2]


def test_a_sample_has_no_repeats_and_is_the_same_again():
    images = training_images(np.arange(50, dtype=np.uint8).reshape(50, 1, 1))
    drawn = images.sample(20, 1).ravel().tolist()
    assert len(set(drawn)) == 20 and images.sample(20, 1).ravel().tolist() == drawn
    assert len(images.sample(99, 1)) == 50


def test_the_fingerprint_is_of_all_pixels_and_the_shape():
    pixels = small_images(30, 4, 6)
    changed = pixels.copy()
    changed[-1, -1, -1] ^= 1
    prints = [training_images(given).fingerprint for given in (pixels, changed, pixels.reshape(30, 6, 4, 1))]
    assert prints[0] == hashlib.sha256(b"(4, 6, 1)" + pixels.tobytes()).hexdigest()
    assert len(set(prints)) == 3


def test_many_images_live_in_a_file_and_are_the_same(monkeypatch):
    pixels = small_images(30)
    in_memory = training_images(pixels)
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 10)
    in_file = training_images(pixels)
    assert isinstance(in_file.pixels, SpooledRows) and in_file.fingerprint == in_memory.fingerprint
    indices = np.array([7, 0, 29])
    assert in_file.batch(indices).equal(in_memory.batch(indices))


class NothingReadable:
    """A source with no readable entry."""

    description, image_shape, dtype = "nothing", (4, 4, 1), np.dtype(np.uint8)
    class_names, skipped = None, ()

    def __len__(self):
        return 3

    def batches(self, batch_images):
        return iter(())


def test_a_source_without_a_readable_image_is_refused():
    with pytest.raises(SourceError, match="nothing holds no readable image"):
        module.TrainingImages(NothingReadable())
