import numpy as np
import pytest
from PIL import Image

from helpers.tiny_fits import fit_small, small_images, tiny_settings
from smalti.archive.read.reader import open_archive
from smalti.archive.recovery.parity import RecoverySpec
from smalti.codec.pack import pack
from smalti.codec.request import PackOptions
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.errors import ModelError, OutputExistsError, SourceError, UsageError
from smalti.exchange import compare
from smalti.images.batch import SkippedFile
from smalti.sources.open import open_source
from smalti.training.common.training_images import to_unit_range
from smalti.training.observer import LoggingObserver


@pytest.fixture(scope="module")
def packed(folder, model, tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "digits.smalti"
    return path, pack(open_source(folder.path), path, model)


def test_pixels_are_those_of_the_decoder_on_the_tokens(packed, folder, model):
    with open_archive(packed[0]) as archive:
        tokens, pixels = archive.tokens(), archive[:]
    assert len(np.unique(tokens)) > 3  # else the comparison would mean nothing
    np.testing.assert_array_equal(tokens, model.tokens(to_unit_range(folder.images[..., None])).numpy())
    np.testing.assert_array_equal(pixels, IntegerDecoder(model.decoder).decode(tokens)[..., 0])


def test_names_labels_classes_and_order_come_back(packed, folder):
    with open_archive(packed[0]) as archive:
        assert archive.names == folder.names
        assert archive.class_names == tuple(f"digit {label}" for label in range(10))
        np.testing.assert_array_equal(archive.labels, folder.labels)


def test_the_report_is_of_the_file(packed):
    path, report = packed
    assert report.skipped == () and report.info.archive_bytes == path.stat().st_size
    assert report.info.provenance["fitted_images"] == "64" and report.info.codebook_size == 16


def test_odd_sides_and_channels_are_cropped_back(tmp_path):
    for height, width, channels in [(5, 7, 2), (30, 29, 1), (9, 4, 4)]:
        pixels = small_images(9, height, width, channels)
        model = fit_small(tiny_settings(), pixels)
        out = tmp_path / f"{channels}.smalti"
        pack(open_source(pixels), out, model)
        with open_archive(out) as archive:
            assert archive.image_shape == (height, width, channels) and len(archive) == 9


def test_equal_inputs_give_equal_bytes(packed, folder, model, tmp_path):
    pack(open_source(folder.path), tmp_path / "again.smalti", model)
    assert (tmp_path / "again.smalti").read_bytes() == packed[0].read_bytes()


def test_labels_can_be_left_out(folder, model, tmp_path):
    pack(open_source(folder.path), tmp_path / "a.smalti", model, options=PackOptions(labels=False))
    with open_archive(tmp_path / "a.smalti") as archive:
        assert (archive.labels, archive.class_names, archive.names) == (None, None, folder.names)


def test_progress_ends_at_the_last_image(folder, model, tmp_path):
    heard = []
    observer = LoggingObserver(lambda *step: heard.append(step))
    pack(open_source(folder.path), tmp_path / "a.smalti", model, observer=observer)
    assert heard == [("write", 64, 64)]


def test_a_model_of_another_shape_writes_nothing(model, tmp_path):
    with pytest.raises(ModelError, match=r"28x28 pixels and 1 channel, but .* 28x28 pixels and 3 channels"):
        pack(open_source(small_images(5, 28, 28, 3)), tmp_path / "a.smalti", model)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_archive_stays(digits, model, tmp_path):
    out = tmp_path / "a.smalti"
    out.write_bytes(b"mine")
    with pytest.raises(OutputExistsError):
        pack(open_source(digits.images), out, model)
    assert out.read_bytes() == b"mine"
    pack(open_source(digits.images), out, model, options=PackOptions(overwrite=True))
    with open_archive(out) as archive:
        assert len(archive) == 64 and archive.names is None


def test_unreadable_files_are_skipped_and_reported(tmp_path, digits, model):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        Image.fromarray(digits.images[number]).save(photos / f"{number}.png")
    (photos / "1b.png").write_bytes(b"no image")
    Image.fromarray(digits.images[0][:20]).save(photos / "9.png")
    report = pack(open_source(photos), tmp_path / "a.smalti", model)
    assert [file.name for file in report.skipped] == ["1b.png", "9.png"]
    assert "20x28" in report.skipped[1].reason
    with open_archive(tmp_path / "a.smalti") as archive:
        assert archive.names == ("0.png", "1.png", "2.png")


class AllUnreadable:
    """A source without any readable entry, which only a pass finds out."""

    description, image_shape, dtype, class_names = "photos", (28, 28, 1), np.dtype(np.uint8), None
    skipped = (SkippedFile("a.png", "cut short"),)

    def __len__(self):
        return 1

    def batches(self, batch_images):
        return iter(())


def test_nothing_readable_writes_nothing(model, tmp_path):
    with pytest.raises(SourceError, match=r"photos: no image could be read \(a.png: cut short\)"):
        pack(AllUnreadable(), tmp_path / "a.smalti", model)
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_fails_midway_writes_nothing(model, tmp_path, digits):
    class Failing(AllUnreadable):
        def batches(self, batch_images):
            yield from open_source(digits.images).batches(20)
            raise SourceError("photos: gone")

    with pytest.raises(SourceError, match="gone"):
        pack(Failing(), tmp_path / "a.smalti", model)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("max_mse", [0.03, 0.004, 0.0])
def test_every_image_is_within_the_error_bound(max_mse, folder, model, tmp_path):
    source = open_source(folder.path)
    report = pack(source, tmp_path / "bounded.smalti", model, options=PackOptions(max_mse=max_mse))
    with open_archive(tmp_path / "bounded.smalti") as archive:
        quality = compare(archive, source).quality
        assert archive.verify("pixels").ok
    assert quality.mse_max <= max_mse
    bound = report.info.promise
    assert bound.max_mse == max_mse and bound.corrected + bound.stored > 0


def test_noise_without_loss_costs_its_raw_bytes(model, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (300, 28, 28), np.uint8)
    report = pack(open_source(noise), tmp_path / "noise.smalti", model, options=PackOptions(max_mse=0))
    with open_archive(tmp_path / "noise.smalti") as archive:
        np.testing.assert_array_equal(archive[:], noise)
    assert report.info.archive_bytes <= 1.01 * noise.nbytes
    assert report.info.promise.stored == 300


def test_recovery_data_can_be_asked_for(folder, model, tmp_path):
    plain = pack(open_source(folder.path), tmp_path / "plain.smalti", model)
    options = PackOptions(recovery=RecoverySpec.parse("1/4"))
    safe = pack(open_source(folder.path), tmp_path / "safe.smalti", model, options=options)
    assert plain.info.recovery_bytes == 0
    assert safe.info.archive_bytes > plain.info.archive_bytes + safe.info.recovery_bytes > plain.info.archive_bytes
    with open_archive(tmp_path / "plain.smalti") as one, open_archive(tmp_path / "safe.smalti") as other:
        np.testing.assert_array_equal(one[:], other[:])


def test_blocks_have_as_many_images_as_asked_for(folder, model, tmp_path):
    usual = pack(open_source(folder.path), tmp_path / "usual.smalti", model)
    small = pack(open_source(folder.path), tmp_path / "small.smalti", model, options=PackOptions(block_images=7))
    assert (usual.info.blocks, small.info.blocks) == (1, -(-len(folder.images) // 7))
    with open_archive(tmp_path / "usual.smalti") as one, open_archive(tmp_path / "small.smalti") as other:
        np.testing.assert_array_equal(one[:], other[:])


@pytest.mark.parametrize("images", [0, -1, 65537])
def test_an_impossible_number_of_images_in_a_block_is_refused(images):
    with pytest.raises(UsageError, match="images per block"):
        PackOptions(block_images=images)


@pytest.mark.parametrize("max_mse", [-0.1, float("nan"), float("inf")])
def test_an_impossible_error_bound_is_refused(max_mse, folder, model, tmp_path):
    with pytest.raises(UsageError):
        pack(open_source(folder.path), tmp_path / "out.smalti", model, options=PackOptions(max_mse=max_mse))
    assert list(tmp_path.iterdir()) == []
