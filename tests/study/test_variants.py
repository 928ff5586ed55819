from dataclasses import asdict

import pytest

from smalti.study.runs import ABLATED, CURED, PAPER, VARIANTS, Run
from smalti.training.paper.settings import PROFILES, QuantizerSettings


def test_the_study_variant_is_the_paper_profile():
    assert Run(PAPER, 128, 0).settings(epochs=3) == PROFILES["paper"]


@pytest.mark.parametrize("name", ABLATED)
def test_each_ablated_variant_has_one_cure_of_those_in_the_cured_one(name):
    plain, cured = asdict(QuantizerSettings()), asdict(VARIANTS[CURED])
    changed = {field for field, value in asdict(VARIANTS[name]).items() if value != plain[field]}
    assert len(changed) == 1
    assert all(asdict(VARIANTS[name])[field] == cured[field] for field in changed)


def test_the_cured_variant_is_all_cures_together():
    plain, cured = asdict(QuantizerSettings()), asdict(VARIANTS[CURED])
    assert len([field for field in plain if plain[field] != cured[field]]) == len(ABLATED) == 4


def test_a_run_brings_its_own_size_seed_and_epochs():
    settings = Run("low-dim", 64, 7).settings(epochs=2)
    assert (settings.quantizer.codebook_size, settings.seed, settings.epochs) == (64, 7, 2)
    assert settings.quantizer.code_dim == 8
    assert Run("low-dim", 64, 7).name == "low-dim-k64-s7"
