"""Signed images of 16 bits: the same values both ways, with every profile, in every change and every way out."""

import numpy as np
import pytest
import torch

import smalti
from smalti.errors import ModelError, UsageError
from smalti.images.batch import ImageBatch
from smalti.images.quality import QualityMeter, image_errors, ssim
from smalti.images.signs import is_signed, to_signed, to_unsigned, unsigned
from smalti.images.sized import as_sized
from smalti.images.source import read_images
from smalti.sources.arrays.array_source import ArraySource
from smalti.sources.open import open_source


def slopes(count=6, height=24, width=20, seed=0):
    """Images like those of a scanner: from air at -1,024 to bone, with both ends of the range."""
    rows, columns = np.mgrid[:height, :width]
    waves = np.cos(np.arange(count) / 3)[:, None, None] * 40 * rows + 60 * columns - 1024
    noise = np.random.default_rng(seed).normal(0, 5, (count, height, width))
    images = (waves + noise).round().astype(np.int16)
    images[0, 0, :2] = -32768, 32767
    return images


LABELS = [0, 1, 0, 1, 1, 0]


@pytest.fixture(name="packed", scope="module")
def _packed(tmp_path_factory):
    """A lossless archive."""
    path = tmp_path_factory.mktemp("signed") / "a.smalti"
    smalti.compress(slopes(), path, max_error=0, effort=0, compare=False, labels=LABELS)
    return path


def test_signs_are_a_shift_of_the_range():
    pixels = np.array([-32768, -1, 0, 1, 32767], np.int16)
    assert to_unsigned(pixels).tolist() == [0, 32767, 32768, 32769, 65535]
    np.testing.assert_array_equal(to_signed(to_unsigned(pixels)), pixels)
    plain = np.arange(3, dtype=np.uint16)
    assert to_unsigned(plain) is plain


@pytest.mark.parametrize("sized", [False, True])
def test_a_source_without_signs_has_the_same_images(sized):
    images = slopes()
    source = as_sized(ArraySource(images, LABELS)) if sized else ArraySource(images, LABELS)
    made = unsigned(source)
    assert is_signed(source) and is_signed(made) and made.dtype == np.uint16 and unsigned(made) is made
    found = ImageBatch.joined(list(made.batches(4)))
    np.testing.assert_array_equal(found.pixels[..., 0], images.astype(int) + 32768)
    assert found.labels.tolist() == LABELS and len(made) == 6
    plain = ArraySource(np.zeros((1, 4, 4), np.uint16))
    assert unsigned(plain) is plain and not is_signed(plain)


def test_a_source_with_random_access_keeps_it(packed):
    for source in (open_source(packed), as_sized(open_source(packed))):
        some = ImageBatch.joined(list(unsigned(source).batches_at(np.array([1, 4]), 2)))
        np.testing.assert_array_equal(to_signed(some.pixels)[..., 0], slopes()[[1, 4]])


def test_every_sample_comes_back(packed):
    images = slopes()
    with smalti.open(packed) as archive:
        assert archive.dtype == np.int16 == archive[:].dtype and archive.info().dtype == "int16"
        np.testing.assert_array_equal(archive[:], images)
        np.testing.assert_array_equal(archive[3], images[3])
        np.testing.assert_array_equal(archive.region(2, (3, 9), (0, 5)), images[2, 3:9, :5])
        np.testing.assert_array_equal(archive.images([4, 1])[0], images[4])
        np.testing.assert_array_equal(next(archive.batches(2)).pixels[..., 0], images[:2])
        assert archive.verify("pixels").ok


@pytest.mark.parametrize(
    "settings",
    [
        {"profile": "paper", "epochs": 1, "max_mse": 0.0},
        {"profile": "compact", "target_mse": 0.01, "effort": 0, "max_mse": 1e-6},
        {"max_error": 3, "effort": 0},
        {"profile": "drawing", "psnr": 50, "effort": 0},
        {"profile": "photo", "psnr": 50, "effort": 0},
    ],
    ids=lambda settings: f"{settings.get('profile', 'lossless')}",
)
def test_every_profile_takes_them(settings, tmp_path):
    images = slopes()
    smalti.compress(images, tmp_path / "a.smalti", compare=False, **settings)
    with smalti.open(tmp_path / "a.smalti") as archive:
        found = archive[:]
    assert found.dtype == np.int16
    wrong = np.abs(found.astype(int) - images)
    errors = ((wrong / 65535) ** 2).mean((1, 2))
    assert (errors <= settings.get("max_mse", 1)).all() and wrong.max() <= settings.get("max_error", 65535)


def test_errors_are_those_of_the_range():
    original = slopes()[..., None]
    decoded = original + np.where(original < 0, np.int16(4), np.int16(-4))
    unsigned_pair = to_unsigned(original), to_unsigned(decoded)
    for measure in (image_errors, ssim):
        np.testing.assert_array_equal(measure(original, decoded), measure(*unsigned_pair))
    meters = [QualityMeter(), QualityMeter()]
    meters[0].add(original, decoded)
    meters[1].add(*unsigned_pair)
    assert meters[0].result() == meters[1].result()
    assert meters[0].result().mse_mean == pytest.approx((4 / 65535) ** 2)


def test_archives_are_changed_and_joined(packed, tmp_path):
    images = slopes()
    smalti.merge([packed, packed], tmp_path / "two.smalti")
    with smalti.open(tmp_path / "two.smalti") as archive:
        np.testing.assert_array_equal(archive[:], np.concatenate([images, images]))
        assert archive.labels.tolist() == LABELS * 2
    smalti.compress(np.abs(images[:, :9]).astype(np.uint16), tmp_path / "plain.smalti", max_error=0, effort=0)
    smalti.merge([packed, tmp_path / "plain.smalti"], tmp_path / "both.smalti", overwrite=True)
    with smalti.open(tmp_path / "both.smalti") as archive:
        assert archive.dtypes == (np.uint16, np.int16)
        np.testing.assert_array_equal(archive.images([1])[0], images[1])
    smalti.drop(tmp_path / "two.smalti", [0, 2, 9])
    with smalti.open(tmp_path / "two.smalti") as archive:
        np.testing.assert_array_equal(archive[:], np.concatenate([images, images])[[1, 3, 4, 5, 6, 7, 8, 10, 11]])


def test_a_model_of_signed_images_takes_no_others(tmp_path):
    smalti.fit(slopes(), tmp_path / "m.smalti-model", max_error=0, effort=0)
    smalti.compress(slopes(seed=1), tmp_path / "a.smalti", model=tmp_path / "m.smalti-model", compare=False)
    with smalti.open(tmp_path / "a.smalti") as archive:
        np.testing.assert_array_equal(archive[:], slopes(seed=1))
    plain = slopes().clip(0).astype(np.uint16)
    with pytest.raises(ModelError, match="of 16 bits, signed, but"):
        smalti.compress(plain, tmp_path / "b.smalti", model=tmp_path / "m.smalti-model", compare=False)
    np.save(tmp_path / "a.npy", slopes(seed=1))
    smalti.plan(str(tmp_path / "a.npy"), tmp_path / "a.plan", model=tmp_path / "m.smalti-model", shard_images=4)
    report = smalti.run_plan(tmp_path / "a.plan", workers=1)
    with smalti.open(report.manifest) as archive:
        np.testing.assert_array_equal(np.stack(archive.images(slice(None))), slopes(seed=1))


def test_signed_and_unsigned_images_of_a_folder_are_members(tmp_path):
    images = slopes()
    np.savez(tmp_path / "a.npz", train_images=images, test_images=images.clip(0).astype(np.uint16))
    smalti.compress(tmp_path / "a.npz", tmp_path / "a.smalti", max_error=0, effort=0, compare=False)
    with smalti.open(tmp_path / "a.smalti") as archive:
        assert set(archive.dtypes) == {np.dtype(np.uint16), np.dtype(np.int16)}


def test_they_leave_in_files_that_hold_them(packed, tmp_path):
    smalti.extract(packed, tmp_path / "out.npy")
    found = np.load(tmp_path / "out.npy")
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, slopes())
    np.testing.assert_array_equal(open_source(tmp_path / "out.npy").image_shape, (24, 20, 1))
    for name in ("folder", "a.tar"):
        smalti.extract(packed, tmp_path / name)
        np.testing.assert_array_equal(read_images(open_source(tmp_path / name)).pixels[..., 0], slopes())
    with pytest.raises(UsageError, match="holds no signed pixels"):
        smalti.extract(packed, tmp_path / "a-idx3-ubyte")
    with pytest.raises(smalti.SmaltiError, match="no signed pixels"):
        smalti.extract(packed, tmp_path / "a.parquet")


def test_loaders_and_decoders_of_tokens_agree(tmp_path):
    from smalti.interop.torch import ArchiveDataset  # noqa: PLC0415

    smalti.compress(slopes(), tmp_path / "a.smalti", profile="photo", psnr=60, effort=0, compare=False)
    with ArchiveDataset(tmp_path / "a.smalti") as images, ArchiveDataset(tmp_path / "a.smalti", tokens=True) as tokens:
        decoder = tokens.decoder("cpu")
        for number in range(6):
            image = images[number][0] if isinstance(images[number], tuple) else images[number]
            own = tokens[number][0] if isinstance(tokens[number], tuple) else tokens[number]
            assert image.dtype == torch.int16 and torch.equal(decoder(own[None])[0], image)


@pytest.mark.parametrize("order", ["<i2", ">i2"])
def test_arrays_of_any_byte_order(order, tmp_path):
    np.save(tmp_path / "a.npy", slopes().astype(order))
    batch = next(open_source(tmp_path / "a.npy").batches(6))
    assert batch.pixels.dtype == np.int16
    np.testing.assert_array_equal(batch.pixels[..., 0], slopes())
