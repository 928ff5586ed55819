import numpy as np
import pytest

from helpers.tiny_fits import small_images
from helpers.tiny_pyramids import differing, pyramid_settings, quick_fits
from smalti.archive.read.reader import open_archive
from smalti.codec.fit import fit_source
from smalti.codec.pack import pack
from smalti.codec.request import FitRequest, PackOptions
from smalti.decoders.pyramid.pyramid_decoder import PyramidDecoder
from smalti.errors import ModelError
from smalti.exchange import compare
from smalti.sources.open import open_source
from smalti.training.kinds import load_model
from smalti.training.observer import LoggingObserver
from smalti.training.paper.grid_model import Model
from smalti.training.pyramid.export import to_network
from smalti.training.pyramid.pyramid_model import PyramidModel

PLAIN = FitRequest(effort=0)


@pytest.fixture(scope="module")
def photos(digits, tmp_path_factory):
    """The first digits, cropped to 16 x 16 pixels, as PNG files in class folders."""
    from PIL import Image  # noqa: PLC0415

    root = tmp_path_factory.mktemp("photos")
    for number in range(24):
        path = root / f"digit {digits.labels[number]}" / f"{number:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(digits.images[number][6:22, 6:22]).save(path)
    return root


@pytest.fixture(scope="module")
def fitted(photos):
    with pytest.MonkeyPatch.context() as patch:
        quick_fits(patch, steps=20)
        return fit_source(open_source(photos), pyramid_settings(codes=8))


@pytest.fixture(scope="module")
def packed(fitted, photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "a.smalti"
    return path, pack(open_source(photos), path, fitted, PLAIN)


def test_names_and_labels_come_back(packed, photos):
    path, report = packed
    source = open_source(photos)
    batch = next(iter(source.batches(99)))
    with open_archive(path) as archive:
        assert archive.names == tuple(batch.names) and archive.class_names == source.class_names
        np.testing.assert_array_equal(archive.labels, batch.labels)
        assert archive.verify("pixels").ok
    assert report.info.archive_bytes == path.stat().st_size and report.info.provenance["fitted_images"] == "24"


def test_pixels_are_those_of_the_decoder_on_the_tokens(packed, fitted):
    with open_archive(packed[0]) as archive:
        tokens, pixels = archive.tokens(), archive[:]
    decoder = PyramidDecoder(to_network(fitted.pyramid), fitted.pyramid.shape.canvas)
    np.testing.assert_array_equal(pixels, decoder.decode(tokens.reshape(24, -1))[..., 0])


@pytest.mark.parametrize("max_mse", [0.02, 0.0])
def test_every_image_is_within_the_error_bound(max_mse, fitted, photos, tmp_path):
    source = open_source(photos)
    pack(source, tmp_path / "a.smalti", fitted, PLAIN, PackOptions(max_mse=max_mse))
    with open_archive(tmp_path / "a.smalti") as archive:
        assert compare(archive, source).quality.mse_max <= max_mse


def test_labels_can_be_left_out_and_progress_ends_at_the_last_image(fitted, photos, tmp_path):
    heard = []
    observer = LoggingObserver(lambda *step: heard.append(step))
    pack(open_source(photos), tmp_path / "a", fitted, PLAIN, PackOptions(labels=False), observer)
    with open_archive(tmp_path / "a") as archive:
        assert archive.labels is None and archive.class_names is None and archive.names is not None
    assert heard[-1] == ("write", 24, 24)


def test_images_of_another_shape_are_refused(fitted, tmp_path):
    with pytest.raises(ModelError, match=r"16x16 pixels and 1 channel, but .* 8x8 pixels"):
        pack(open_source(small_images(5)), tmp_path / "a", fitted, PLAIN)
    assert list(tmp_path.iterdir()) == []


def test_both_kinds_of_model_are_loaded(fitted, model, tmp_path):
    fitted.save(tmp_path / "pyramid")
    model.save(tmp_path / "paper")
    assert isinstance(load_model(tmp_path / "paper"), Model)
    again = load_model(tmp_path / "pyramid")
    assert isinstance(again, PyramidModel) and differing(fitted, again) == []
    (tmp_path / "text").write_text("no model")
    with pytest.raises(ModelError):
        load_model(tmp_path / "text")
