import numpy as np
import pytest

from helpers.tiny_fits import StopAt, same_weights, small_images, tiny_settings
from smalti.codec.fit import fit_source
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.errors import SourceError
from smalti.sources.open import open_source
from smalti.study.runs import Run, fit_run, measure_run, model_path
from smalti.training.common.training_images import to_unit_range
from smalti.training.observer import FitInterruptedError, SilentObserver
from smalti.training.paper.settings import FitSettings, QuantizerSettings

RUN = Run("cured", 12, 3)


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    def small(self, epochs):
        return FitSettings(hidden_channels=8, latent_channels=4, epochs=epochs, batch_images=16, seed=self.seed)

    monkeypatch.setattr(Run, "settings", small)


@pytest.fixture
def parts(digits):
    return open_source(digits.images[:40]), open_source(digits.images[40:])


def test_a_stored_model_is_used_only_if_it_is_of_the_same_fit(parts, tmp_path):
    first = fit_run(RUN, 1, *parts, tmp_path, SilentObserver())
    steps = StopAt(-1)
    assert same_weights(first, fit_run(RUN, 1, *parts, tmp_path, steps)) and steps.left == -1
    assert len(fit_run(RUN, 2, *parts, tmp_path, steps).history) == 2  # other epochs
    assert steps.left == -1 - 6 - 1  # the last one is fine-tuning
    fewer = open_source(np.zeros((20, 28, 28), np.uint8))
    assert fit_run(RUN, 2, fewer, parts[1], tmp_path, steps).provenance["images"] == 20
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["cured-k12-s3.smalti-model"]


def test_an_interrupted_fit_resumes(parts, tmp_path):
    with pytest.raises(FitInterruptedError):
        fit_run(RUN, 2, *parts, tmp_path, StopAt(4))
    assert not model_path(tmp_path, RUN).exists()
    steps = StopAt(-1)
    model = fit_run(RUN, 2, *parts, tmp_path, steps)
    assert steps.left == -1 - 2 - 1  # the last one is fine-tuning
    assert same_weights(model, fit_source(parts[0], RUN.settings(2), validation=parts[1]))


def test_a_run_is_measured_on_its_decoded_archive(model, digits, tmp_path):
    test = open_source(digits.images)
    result, pictures = measure_run(Run("cured", 16, 0), model, test, digits.images[:10], tmp_path)
    assert not list(tmp_path.iterdir())
    tokens = model.tokens(to_unit_range(digits.images[..., None])).numpy()
    assert result.codes_used == len(np.unique(tokens)) == len(pictures.atlas)
    decoded = IntegerDecoder(model.decoder).decode(tokens)[..., 0]
    assert result.test.mse == pytest.approx(np.square(decoded / 255 - digits.images / 255).mean())
    assert result.test.images == 64 and result.tokens_per_image == 49
    assert result.fixed_length_bytes_per_image == 49 * 4 / 8
    assert result.parameters == model.network.parameter_count() and result.model_bytes == 4 * result.parameters
    assert result.perplexity == pytest.approx(2**result.entropy_bits_per_token)
    difference = digits.images[:10] / 255 - pictures.reconstructions.reshape(10, 28, 28) / 255
    assert np.square(difference).mean() == pytest.approx(result.test.mse, rel=0.5)


@pytest.mark.parametrize(("size", "bits"), [(2, 1), (3, 2), (4, 2), (5, 3), (12, 4)])
def test_a_code_of_fixed_length_has_whole_bits(size, bits, digits, tmp_path):
    quantizer = QuantizerSettings(codebook_size=size)
    fitted = fit_source(open_source(digits.images[:16]), tiny_settings(quantizer, epochs=1))
    source = open_source(digits.images[:16])
    result, _ = measure_run(Run("paper", size, 0), fitted, source, digits.images[:2], tmp_path)
    assert result.fixed_length_bytes_per_image == 49 * bits / 8


def test_images_too_small_for_ssim_are_refused(tmp_path):
    images = small_images(20, 6, 6)
    fitted = fit_source(open_source(images), tiny_settings())
    with pytest.raises(SourceError, match="7x7"):
        measure_run(Run("paper", 12, 0), fitted, open_source(images), images[:2, ..., 0], tmp_path)


def test_each_model_has_its_own_path(tmp_path):
    assert model_path(tmp_path, RUN) == tmp_path / "models" / "cured-k12-s3.smalti-model"
