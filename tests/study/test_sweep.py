import json

import numpy as np
import pytest

from helpers.tiny_fits import StopAt
from smalti.errors import SmaltiError, SourceError, UsageError
from smalti.sources.open import open_source
from smalti.study import sweep
from smalti.study.results import read_amortisation, read_runs
from smalti.study.runs import CURED, PAPER, Run, model_path
from smalti.study.sweep import StudyPlan, run_study
from smalti.training.observer import FitInterruptedError, SilentObserver
from smalti.training.paper.settings import FitSettings

PLAN = StudyPlan((2, 5), seeds=2, cured_seeds=1, ablation_seeds=1, epochs=1, limit=40, baselines=False)


class Listener:
    """Records the lines of a study, and stops the fit of one run after its first step."""

    def __init__(self, stop_at=None):
        self.lines, self.fits, self.stop_at = [], [], stop_at

    def say(self, line):
        self.lines.append(line)

    def fit_observer(self, run, number, runs):
        self.fits.append((run.name, number, runs))
        return StopAt(1) if run == self.stop_at else SilentObserver()


@pytest.fixture(scope="module")
def few_digits(digits):
    """Named sets of few images: 48 to train on, 16 to test on; and a network with fewer weights."""
    parts = {"mnist/train": digits.images[:48], "mnist/test": digits.images[48:], "mnist": digits.images}

    def open_few(spec):
        return open_source(parts[spec] if isinstance(spec, str) else spec)

    def small(self, epochs):
        full = settings(self, epochs)
        return FitSettings(full.profile, full.quantizer, 8, 4, epochs, batch_images=16, seed=full.seed)

    settings = Run.settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "open_source", open_few)
        patch.setattr(Run, "settings", small)
        yield


@pytest.fixture(scope="module")
def study(few_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    heard = Listener()
    page = run_study(PLAN, "mnist", folder, "smalti study", heard)
    return folder, heard, page


@pytest.fixture
def no_report(monkeypatch):
    """Skip the figures, which take most of the time of a small study."""
    monkeypatch.setattr(sweep, "build_report", lambda folder: folder / "report.html")


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_plan_goes_seed_by_seed_and_then_to_the_cures():
    runs = StudyPlan().runs()
    assert [run.name for run in runs[:5]] == [
        "paper-k64-s0",
        "paper-k128-s0",
        "paper-k256-s0",
        "paper-k512-s0",
        "paper-k64-s1",
    ]
    assert len(runs) == len(set(runs)) == 4 * 5 + 4 * 3 + 4 * 2
    assert {run.codebook_size for run in runs if run.variant not in (PAPER, CURED)} == {128}
    assert {run.codebook_size for run in PLAN.runs() if run.variant == "ema"} == {2}


@pytest.mark.parametrize("bad", [{"codebook_sizes": ()}, {"seeds": 0}, {"epochs": 0}, {"limit": 0}])
def test_a_plan_of_nothing_is_refused(bad):
    with pytest.raises(UsageError):
        StudyPlan(**bad)


def test_every_run_is_done_once_and_stored(study):
    folder, heard, page = study
    planned = [run.name for run in PLAN.runs()]
    assert [name for name, _, _ in heard.fits] == planned and heard.fits[-1][1:] == (10, 10)
    assert sorted(run.name for run in read_runs(folder)) == sorted(planned)
    assert page.exists() and page.stat().st_size > 10_000
    assert len(heard.lines) == 11 and heard.lines[0].startswith("paper-k2-s0: MSE ")
    assert sorted(path.stem for path in (folder / "pictures").glob("*.npz")) == sorted(
        name for name in planned if name.endswith("s0")
    )
    assert [point.images for point in read_amortisation(folder)] == [40]
    assert json.loads((folder / "study.json").read_text())["command"] == "smalti study"


def test_results_are_of_the_file_and_the_images(study):
    run = next(run for run in read_runs(study[0]) if run.name == "paper-k5-s1")
    assert (run.train_images, run.test.images, run.epochs, run.tokens_per_image) == (40, 16, 1, 49)
    assert run.fixed_length_bytes_per_image == 49 * 3 / 8  # five codes need three bits
    assert 1 <= run.perplexity <= run.codes_used <= 5
    assert run.model_bytes == 4 * run.parameters and len(run.history) == 1


def test_a_second_call_does_no_fit_again(study, no_report):
    folder, _, page = study
    before = content(folder)
    heard = Listener()
    assert run_study(PLAN, "mnist", folder, "smalti study", heard) == page
    assert heard.fits == [] and heard.lines == []
    kept = ("runs", "pictures", "models")
    after = content(folder)
    assert after.keys() == before.keys()
    assert all(after[path] == data for path, data in before.items() if path.parent.name in kept)


def test_a_larger_plan_does_the_missing_runs(study, no_report):
    heard = Listener()
    larger = StudyPlan((2, 5), seeds=3, cured_seeds=1, ablation_seeds=1, epochs=1, limit=40, baselines=False)
    run_study(larger, "mnist", study[0], "smalti study --seeds 3", heard)
    assert heard.fits == [("paper-k2-s2", 1, 2), ("paper-k5-s2", 2, 2)]


@pytest.mark.parametrize("other", [{"epochs": 2}, {"limit": 30}])
def test_another_protocol_in_the_same_folder_is_refused_and_changes_nothing(study, other):
    folder = study[0]
    before = content(folder)
    plan = StudyPlan(**({"codebook_sizes": (2, 5), "seeds": 1, "epochs": 1, "limit": 40, "baselines": False} | other))
    with pytest.raises(SourceError, match="name another folder"):
        run_study(plan, "mnist", folder, "another command", Listener())
    assert content(folder) == before


def test_a_result_that_is_cut_short_is_named(study, tmp_path):
    cut = tmp_path / "runs" / "paper-k2-s0.json"
    cut.parent.mkdir()
    cut.write_bytes((study[0] / "runs" / cut.name).read_bytes()[:100])
    with pytest.raises(SmaltiError, match="paper-k2-s0"):
        run_study(PLAN, "mnist", tmp_path, "smalti study", Listener())


def test_a_stopped_study_resumes(study, few_digits, no_report, tmp_path):
    plan = StudyPlan((2,), seeds=2, cured_seeds=0, ablation_seeds=0, epochs=1, limit=40, baselines=False)
    with pytest.raises(FitInterruptedError):
        run_study(plan, "mnist", tmp_path, "smalti study", Listener(stop_at=Run(PAPER, 2, 1)))
    assert [run.name for run in read_runs(tmp_path)] == ["paper-k2-s0"]
    assert model_path(tmp_path, Run(PAPER, 2, 1)).with_suffix(".checkpoint").exists()
    heard = Listener()
    run_study(plan, "mnist", tmp_path, "smalti study", heard)
    assert heard.fits == [("paper-k2-s1", 1, 1)]
    whole, stopped = ({run.name: run for run in read_runs(folder)} for folder in (study[0], tmp_path))
    assert stopped["paper-k2-s1"].first_100 == whole["paper-k2-s1"].first_100
    assert stopped["paper-k2-s1"].archive == whole["paper-k2-s1"].archive
    assert not list(tmp_path.rglob("*.checkpoint"))


def test_another_source_is_refused(tmp_path):
    with pytest.raises(UsageError, match="fashion-mnist: the study is of MNIST"):
        run_study(PLAN, "fashion-mnist", tmp_path / "study", "smalti study", Listener())
    assert not (tmp_path / "study").exists()


def test_pictures_are_of_the_first_images(study, digits):
    with np.load(study[0] / "pictures" / "paper-k5-s0.npz") as stored:
        shown = next(stored[name] for name in stored.files if stored[name].shape == (10, 28, 28))
    np.testing.assert_array_equal(shown, digits.images[48:58])
