import json
import shlex
import signal

import numpy as np
import pytest

from helpers.command_line import names
from helpers.tiny_fits import same_weights, small_images, without_seconds
from smalti.cli.command_observer import CommandObserver
from smalti.training.kinds import kind_of_profile
from smalti.training.paper.grid_model import Model

QUICK = ("-k", 4, "--epochs", 4, "--threads", 1)


@pytest.fixture
def blobs(tmp_path):
    path = tmp_path / "in" / "some blobs.npy"
    path.parent.mkdir()
    (tmp_path / "out").mkdir()
    np.save(path, small_images(20))
    return path


def test_fit_writes_a_model_and_a_log_and_prints_every_epoch(smalti, blobs, tmp_path):
    out = tmp_path / "out" / "m.smalti-model"
    ran = smalti("fit", blobs, "-o", out, *QUICK, "--seed", 3, "--json")
    assert ran.code == 0 and ran.err.count("epoch ") == 4 and "codes used" in ran.err
    told, model = ran.json, Model.load(out)
    assert told["model_file_bytes"] == out.stat().st_size and told["image_shape"] == [8, 8, 1]
    assert told["settings"] == model.settings.to_json() and told["settings"]["seed"] == 3
    assert told["provenance"]["source"] == str(blobs) and told["provenance"]["parameters"] == 266_561 + 64 * 4
    assert json.loads((tmp_path / "out" / "m.smalti-model.log.json").read_text()) == told["history"] == model.history
    assert names(tmp_path / "out") == ["m.smalti-model", "m.smalti-model.log.json"]


def test_other_images_can_be_used_for_validation(smalti, blobs, tmp_path):
    np.save(tmp_path / "in" / "others.npy", small_images(7, seed=4))
    np.save(tmp_path / "in" / "large.npy", small_images(7, 12, 12))
    out = tmp_path / "out" / "m"
    told = smalti("fit", blobs, "-o", out, *QUICK, "--validation", tmp_path / "in" / "others.npy", "--json").json
    assert told["provenance"]["validation"].endswith("others.npy")
    ran = smalti(
        "fit", blobs, "-o", tmp_path / "out" / "n", *QUICK, "--validation", tmp_path / "in" / "large.npy", "-q"
    )
    assert ran.code == 1 and "12x12 pixels" in ran.err and not (tmp_path / "out" / "n").exists()


def interrupt_at_epoch(monkeypatch, number, by=signal.SIGINT):
    """Press Ctrl-C, or send another signal, when the figures of an epoch are printed."""
    show = CommandObserver.on_report

    def on_report(self, report, history):
        show(self, report, history)
        if getattr(report, "epoch", None) == number:
            signal.raise_signal(by)

    monkeypatch.setattr(CommandObserver, "on_report", on_report)


def test_an_interrupted_fit_is_resumed_by_the_command_it_prints(smalti, blobs, tmp_path, monkeypatch):
    whole, out = tmp_path / "out" / "whole", tmp_path / "out" / "m"
    smalti("fit", blobs, "-o", whole, *QUICK)
    with monkeypatch.context() as patch:
        interrupt_at_epoch(patch, 2)
        ran = smalti("fit", blobs, "-o", out, *QUICK)
    assert ran.code == 130 and not out.exists() and (tmp_path / "out" / "m.checkpoint").exists()
    last = ran.err.splitlines()[-1]
    command = shlex.split(last.partition("go on with: ")[2])
    assert last.startswith("smalti: interrupted") and command[0] == "smalti"
    ran = smalti(*command[1:])
    assert ran.code == 0 and ran.err.count("epoch ") == 2  # the third and the fourth
    one, other = Model.load(whole), Model.load(out)
    assert same_weights(one, other) and without_seconds(one.history) == without_seconds(other.history)
    assert names(tmp_path / "out") == ["m", "m.log.json", "whole", "whole.log.json"]


def test_an_interrupted_compress_is_resumed(smalti, blobs, tmp_path, monkeypatch):
    whole, out = tmp_path / "out" / "whole.smalti", tmp_path / "out" / "a.smalti"
    smalti("compress", blobs, "-o", whole, *QUICK)
    with monkeypatch.context() as patch:
        interrupt_at_epoch(patch, 1)
        ran = smalti("compress", blobs, "-o", out, *QUICK, "--json")
    assert ran.code == 130 and ran.json["exit_code"] == 130 and not out.exists()
    command = shlex.split(ran.json["error"].partition("go on with: ")[2])
    assert smalti(*command[1:]).code == 0
    assert out.read_bytes() == whole.read_bytes()


def test_an_interruption_after_the_last_step_is_not_lost(smalti, blobs, tmp_path, monkeypatch):
    whole, out = tmp_path / "out" / "whole.smalti", tmp_path / "out" / "a.smalti"
    smalti("compress", blobs, "-o", whole, *QUICK)
    show = CommandObserver.on_report

    def on_report(self, report, history):
        show(self, report, history)
        if "fine-tuning" in report.sentence():
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(CommandObserver, "on_report", on_report)
        ran = smalti("compress", blobs, "-o", out, *QUICK)
    assert ran.code == 130 and "go on with: smalti compress" in ran.err and "--resume" in ran.err
    assert not out.exists()
    ran = smalti("compress", blobs, "-o", out, *QUICK, "--resume")
    assert ran.code == 0 and out.read_bytes() == whole.read_bytes()


def test_a_checkpoint_that_is_not_resumed_is_replaced_with_a_warning(smalti, blobs, tmp_path, monkeypatch):
    out = tmp_path / "out" / "m"
    with monkeypatch.context() as patch:
        interrupt_at_epoch(patch, 1)
        smalti("fit", blobs, "-o", out, *QUICK)
    ran = smalti("fit", blobs, "-o", out, *QUICK, "--seed", 9)
    assert (
        ran.code == 0
        and "--resume would continue from it" in ran.err
        and not (tmp_path / "out" / "m.checkpoint").exists()
    )
    ran = smalti("fit", blobs, "-o", out, *QUICK, "-f", "--resume")
    assert ran.code == 0 and "no checkpoint" in ran.err


def test_resuming_with_other_settings_is_refused(smalti, blobs, tmp_path, monkeypatch):
    out = tmp_path / "out" / "m"
    with monkeypatch.context() as patch:
        interrupt_at_epoch(patch, 1)
        smalti("fit", blobs, "-o", out, *QUICK)
    ran = smalti("fit", blobs, "-o", out, *QUICK, "--seed", 9, "--resume", "-q")
    assert ran.code == 1 and "seed 0, not 9" in ran.err
    assert names(tmp_path / "out") == ["m.checkpoint", "m.log.json"]


@pytest.mark.parametrize("size", [1, 65_537, -4, "many"])
def test_a_codebook_size_out_of_range_ends_with_2(smalti, blobs, tmp_path, size):
    line = smalti.fails(2, "fit", blobs, "-o", tmp_path / "out" / "m", "-k", size)
    assert (str(size) in line or "--codebook-size" in line) and names(tmp_path / "out") == []


def test_outputs_are_checked_before_the_fit(smalti, blobs, tmp_path, monkeypatch):
    monkeypatch.setattr(type(kind_of_profile("paper")), "fit", None)  # would fail if it were called
    (tmp_path / "out" / "m").write_bytes(b"mine")
    assert "-f" in smalti.fails(6, "fit", blobs, "-o", tmp_path / "out" / "m")
    assert "does not exist" in smalti.fails(1, "fit", blobs, "-o", tmp_path / "absent" / "m")
    smalti.fails(1, "fit", blobs, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "m").read_bytes() == b"mine"


def test_an_unknown_device_is_refused(smalti, blobs, tmp_path):
    ran = smalti("fit", blobs, "-o", tmp_path / "out" / "m", "--device", "tpu", "-q", *QUICK)
    assert ran.code == 2 and "unknown device 'tpu'" in ran.err


def test_a_short_fit_is_warned_of(smalti, blobs, tmp_path):
    ran = smalti("fit", blobs, "-o", tmp_path / "out" / "m", *QUICK, "-q")
    assert "this fit has 4 steps (20 images, 4 epochs), too few to learn much" in ran.err


def test_sigterm_during_a_fit_is_as_an_interrupt(smalti, blobs, tmp_path, monkeypatch):
    out = tmp_path / "out" / "m"
    interrupt_at_epoch(monkeypatch, 2, signal.SIGTERM)
    ran = smalti("fit", blobs, "-o", out, *QUICK)
    assert ran.code == 130 and not out.exists() and (tmp_path / "out" / "m.checkpoint").exists()
    state = tmp_path / "out" / "m.checkpoint"
    words = f"smalti: interrupted, its state is in {state}; go on with: smalti fit"
    assert ran.err.splitlines()[-1].startswith(words)


def test_sigterm_at_any_other_time_is_as_an_interrupt(smalti, blobs, tmp_path, monkeypatch):
    def write(*arguments):
        signal.raise_signal(signal.SIGTERM)

    out, before = tmp_path / "out" / "a.smalti", signal.getsignal(signal.SIGTERM)
    smalti("fit", blobs, "-o", tmp_path / "m", *QUICK)
    monkeypatch.setattr("smalti.archive.write.writer.ArchiveWriter.commit", write)
    ran = smalti("compress", blobs, "-o", out, "--model", tmp_path / "m")
    assert ran.code == 130 and "smalti: interrupted; nothing was left half-written" in ran.err
    assert names(tmp_path / "out") == [] and signal.getsignal(signal.SIGTERM) == before
