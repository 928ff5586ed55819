import numpy as np
import pytest

from helpers.image_files import noise
from helpers.tiny_transforms import pictures, smooth
from smalti.errors import SourceError
from smalti.images.sized import as_sized
from smalti.sources.open import open_source
from smalti.training.cells.samples import filled, load_samples, prepared, seen_weights


def test_the_last_row_and_column_are_repeated():
    pixels = noise(2, 9, 15, 3)
    whole = prepared(pixels, 8)
    assert whole.shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(whole[:, :9, :15], pixels)
    np.testing.assert_array_equal(whole[:, 9:, :15], np.repeat(pixels[:, 8:9], 7, 1))
    np.testing.assert_array_equal(whole[:, :, 15], whole[:, :, 14])
    assert prepared(pixels[:, :8, :8], 8).shape == (2, 8, 8, 3)


def test_unseen_colours_are_those_around_them():
    image = np.zeros((9, 13, 4), np.uint8)
    image[:4, :, :3], image[:4, :, 3] = 200, 255
    image[4:, :, :3] = noise(5, 13, 3)  # under alpha 0
    image[8, 0] = (10, 20, 30, 1)
    made = filled(image[None])[0]
    seen = image[..., 3] > 0
    np.testing.assert_array_equal(made[seen], image[seen])
    np.testing.assert_array_equal(made[..., 3], image[..., 3])
    assert (made[4, 4:, :3] == 200).all() and made[8, 1, 0] == 10
    hidden = noise(4, 4, 4)
    hidden[..., 3] = 0
    np.testing.assert_array_equal(filled(hidden[None])[0], hidden)
    small = np.pad(np.full((1, 1, 2), 255, np.uint8), ((0, 40), (0, 3), (0, 0)))
    assert (filled(small[None])[..., 0] == 255).all()


def test_weights_are_the_square_of_alpha():
    assert seen_weights(noise(1, 4, 4, 3)) is None
    pixels = noise(1, 4, 4, 4)
    weights = seen_weights(pixels)
    np.testing.assert_allclose(weights[..., 1], (pixels[..., 3] / 255.0) ** 2, rtol=1e-6)
    assert (weights[..., 3] == 1).all()


def test_crops_are_of_the_images_and_the_same_each_time():
    samples = load_samples(pictures(3, ((40, 33), (17, 60), (64, 64))), 8, 32)
    assert samples.pixels == 2 * (40 * 40 + 24 * 64 + 64 * 64)
    shapes = set()
    for seed in range(20):
        images, weights = samples.draw(np.random.default_rng(seed), 2000)
        again, other = samples.draw(np.random.default_rng(seed), 2000)
        assert images.equal(again) and (weights is None) == (other is None)
        count, channels, height, width = images.shape
        assert channels == 3 and height % 8 == width % 8 == 0 and max(height, width) <= 32
        assert abs(count * height * width - 2000) <= height * width / 2
        shapes.add((height, width))
        if weights is not None:
            assert weights.shape == (count, 1, height, width)
            known = weights.expand_as(images) == 0
            assert set(weights.unique().tolist()) <= {0.0, 1.0} and known.any()
    assert len(shapes) > 1


def test_the_weights_are_0_beyond_the_edges():
    samples = load_samples(as_sized(open_source(smooth(9, 15)[None])), 8, 64)
    images, weights = samples.draw(np.random.default_rng(0), 100)
    assert images.shape == (1, 1, 16, 16)
    assert weights[0, 0, :9, :15].min() == 1 and weights[0, 0].sum() == 9 * 15


def test_of_much_an_evenly_spread_part_is_kept():
    source = as_sized(open_source(np.stack([np.full((8, 8), number, np.uint8) for number in range(100)])[..., None]))
    samples = load_samples(source, 8, 64, 64 * 10)
    kept = [int(picture.pixels[0, 0, 0]) for picture in samples.pictures]
    assert kept == list(range(5, 100, 10))
    assert len(load_samples(source, 8, 64, 1).pictures) >= 1


def test_large_images_are_seen_through_windows():
    samples = load_samples(as_sized(open_source(smooth(1100, 1500)[None])), 8, 64)
    assert samples.pictures[0].pixels.shape == (1024, 1024, 1)


def test_no_image_is_an_error():
    class Empty:
        description, channels, dtype, class_names, skipped = "nothing", 1, np.dtype(np.uint8), None, ()
        sizes = np.full((2, 2), 8)

        def __len__(self):
            return 2

        def batches(self, batch_images, start=0, stop=None):
            return iter(())

    with pytest.raises(SourceError, match="nothing: no image"):
        load_samples(Empty(), 8, 64)
