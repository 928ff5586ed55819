import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smalti.errors import ModelError, UsageError
from smalti.training.paper.settings import PROFILES, FitSettings, QuantizerSettings, profile_settings


def test_the_paper_profile_is_the_study_to_the_letter():
    settings = PROFILES["paper"]
    assert (settings.hidden_channels, settings.latent_channels) == (128, 64)
    assert (settings.epochs, settings.batch_images, settings.learning_rate) == (3, 64, 2e-4)
    quantizer = settings.quantizer
    assert (quantizer.update, quantizer.start, quantizer.restart) == ("gradient", "uniform", False)
    assert (quantizer.code_dim, quantizer.commitment_weight) == (None, 0.25)


@pytest.mark.parametrize("size", [2, 3, 65_536])
def test_every_codebook_size_from_2_to_65536_is_taken(size):
    assert profile_settings(codebook_size=size).quantizer.codebook_size == size


@pytest.mark.parametrize("size", [-1, 0, 1, 65_537])
def test_other_codebook_sizes_are_refused(size):
    with pytest.raises(UsageError, match=rf"codebook size {size}.*2 to 65,536"):
        profile_settings(codebook_size=size)


@pytest.mark.parametrize(
    "bad",
    [{"epochs": 0}, {"batch_images": 0}, {"hidden_channels": -1}, {"latent_channels": 0}, {"seed": -1},
     {"learning_rate": 0.0}, {"learning_rate": float("nan")}],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused_by_name(bad):
    (name,) = bad
    with pytest.raises(UsageError, match=name.replace("_", " ")):
        FitSettings(**bad)


@pytest.mark.parametrize("bad", [{"update": "magic"}, {"start": "zero"}, {"code_dim": 0}])
def test_quantisers_that_cannot_be_meant_are_refused(bad):
    with pytest.raises(UsageError):
        QuantizerSettings(**bad)


def test_an_unknown_profile_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match=r"'papper'.*paper"):
        profile_settings("papper")


def test_given_choices_replace_those_of_the_profile_and_no_others():
    settings = profile_settings("paper", codebook_size=64, epochs=5, seed=7)
    assert (settings.quantizer.codebook_size, settings.epochs, settings.seed) == (64, 5, 7)
    assert profile_settings("paper", codebook_size=128, epochs=3, seed=0) == PROFILES["paper"]


@given(
    st.builds(
        QuantizerSettings,
        codebook_size=st.integers(2, 65_536),
        update=st.sampled_from(["gradient", "ema"]),
        start=st.sampled_from(["uniform", "kmeans"]),
        restart=st.booleans(),
        code_dim=st.none() | st.integers(1, 64),
    ),
    st.integers(0, 2**32),
)
def test_settings_come_back_from_json(quantizer, seed):
    settings = FitSettings(quantizer=quantizer, seed=seed)
    assert FitSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


GOOD = FitSettings().to_json()


@pytest.mark.parametrize(
    "stored",
    [
        {**GOOD, "depth": 3},
        {"profile": "paper"},
        {**GOOD, "quantizer": {**GOOD["quantizer"], "codebook_size": 1}},
        {**GOOD, "quantizer": {**GOOD["quantizer"], "codebook_size": "128"}},
        {**GOOD, "quantizer": 5},
        {**GOOD, "epochs": None},
        [],
    ],
    ids=str,
)
def test_stored_settings_that_are_not_valid_are_a_model_error(stored):
    with pytest.raises(ModelError, match="not of this release"):
        FitSettings.from_json(stored)
