import numpy as np
import pytest
import torch
from PIL import Image

from smalti.archive import open_archive
from smalti.codec import compress_source, decoder_weights
from smalti.errors import ModelError, OutputExistsError, SourceError
from smalti.floating import FloatDecoder
from smalti.images import SkippedFile, open_source
from smalti.training import VQVAE, Model, to_unit_range
from training.tiny import CURED, fit_small, small_images, tiny_settings


@pytest.fixture(scope="module")
def packed(folder, model, tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "digits.smalti"
    return path, compress_source(open_source(folder.path), path, model)


def test_pixels_are_those_of_the_decoder_on_the_tokens(packed, folder, model):
    with open_archive(packed[0]) as archive:
        tokens, pixels = archive.tokens(), archive[:]
    assert len(np.unique(tokens)) > 3  # else nothing could be told apart
    np.testing.assert_array_equal(tokens, model.encode(to_unit_range(folder.images[..., None])).numpy())
    np.testing.assert_array_equal(pixels, FloatDecoder(decoder_weights(model)).decode(tokens)[..., 0])


def test_names_labels_classes_and_order_come_back(packed, folder):
    with open_archive(packed[0]) as archive:
        assert archive.names == folder.names
        assert archive.class_names == tuple(f"digit {label}" for label in range(10))
        np.testing.assert_array_equal(archive.labels, folder.labels)


def test_the_report_is_of_the_file(packed):
    path, report = packed
    assert report.skipped == () and report.info.archive_bytes == path.stat().st_size
    assert report.info.provenance["fitted images"] == "64" and report.info.codebook_size == 16


@pytest.mark.parametrize("quantizer", [None, CURED], ids=["paper", "cured"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_both_decoders_agree_within_a_grey_level(channels, quantizer):
    """The cured quantiser's map from code to latent is folded into the codebook that the archive keeps."""
    settings = tiny_settings(quantizer)
    model = Model(VQVAE(channels, settings).eval(), settings, (10, 13, channels), {}, [])
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.normal_(0, 0.5, generator=torch.Generator().manual_seed(weight.numel()))
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, 12, (30, 3, 4)))
    network = model.network
    with torch.no_grad():
        codes = network.quantizer.codebook.weight[tokens]
        latents = network.quantizer.project_out(codes).permute(0, 3, 1, 2)
        expected = (255 * network.decoder(latents)).permute(0, 2, 3, 1).numpy()
    got = FloatDecoder(decoder_weights(model)).decode(tokens.numpy())
    assert got.shape == expected.shape and expected.std() > 5
    assert np.abs(got - expected).max() <= 0.5 + 1e-2


def test_odd_sides_and_channels_are_cropped_back(tmp_path):
    for height, width, channels in [(5, 7, 2), (30, 29, 1), (9, 4, 4)]:
        pixels = small_images(9, height, width, channels)
        model = fit_small(tiny_settings(), pixels)
        out = tmp_path / f"{channels}.smalti"
        compress_source(open_source(pixels), out, model)
        with open_archive(out) as archive:
            assert archive.image_shape == (height, width, channels) and len(archive) == 9


def test_equal_inputs_give_equal_bytes(packed, folder, model, tmp_path):
    compress_source(open_source(folder.path), tmp_path / "again.smalti", model)
    assert (tmp_path / "again.smalti").read_bytes() == packed[0].read_bytes()


def test_labels_can_be_left_out(folder, model, tmp_path):
    compress_source(open_source(folder.path), tmp_path / "a.smalti", model, labels=False)
    with open_archive(tmp_path / "a.smalti") as archive:
        assert (archive.labels, archive.class_names, archive.names) == (None, None, folder.names)


def test_progress_ends_at_the_last_image(folder, model, tmp_path):
    heard = []
    compress_source(open_source(folder.path), tmp_path / "a.smalti", model, progress=lambda *at: heard.append(at))
    assert heard == [(64, 64)]


def test_a_model_of_another_shape_writes_nothing(model, tmp_path):
    with pytest.raises(ModelError, match=r"28x28 pixels and 1 channel, but .* 28x28 pixels and 3 channels"):
        compress_source(open_source(small_images(5, 28, 28, 3)), tmp_path / "a.smalti", model)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_archive_stays(digits, model, tmp_path):
    out = tmp_path / "a.smalti"
    out.write_bytes(b"mine")
    with pytest.raises(OutputExistsError):
        compress_source(open_source(digits.images), out, model)
    assert out.read_bytes() == b"mine"
    compress_source(open_source(digits.images), out, model, overwrite=True)
    with open_archive(out) as archive:
        assert len(archive) == 64 and archive.names is None


def test_unreadable_files_are_passed_over_and_reported(tmp_path, digits, model):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        Image.fromarray(digits.images[number]).save(photos / f"{number}.png")
    (photos / "1b.png").write_bytes(b"no image")
    Image.fromarray(digits.images[0][:20]).save(photos / "9.png")
    report = compress_source(open_source(photos), tmp_path / "a.smalti", model)
    assert [file.name for file in report.skipped] == ["1b.png", "9.png"]
    assert "20x28" in report.skipped[1].reason
    with open_archive(tmp_path / "a.smalti") as archive:
        assert archive.names == ("0.png", "1.png", "2.png")


class AllUnreadable:
    """A source whose every entry turns out unreadable during the pass."""

    description, image_shape, class_names = "photos", (28, 28, 1), None
    skipped = (SkippedFile("a.png", "cut short"),)

    def __len__(self):
        return 1

    def batches(self, batch_images):
        return iter(())


def test_nothing_readable_writes_nothing(model, tmp_path):
    with pytest.raises(SourceError, match=r"photos: no image could be read \(a.png: cut short\)"):
        compress_source(AllUnreadable(), tmp_path / "a.smalti", model)
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_fails_midway_writes_nothing(model, tmp_path, digits):
    class Failing(AllUnreadable):
        def batches(self, batch_images):
            yield from open_source(digits.images).batches(20)
            raise SourceError("photos: gone")

    with pytest.raises(SourceError, match="gone"):
        compress_source(Failing(), tmp_path / "a.smalti", model)
    assert list(tmp_path.iterdir()) == []
