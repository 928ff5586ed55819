import os
import signal

import pytest

from helpers.command_line import Smalti
from smalti.cli import run


@pytest.fixture
def smalti(capsys, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)  # one thread without --threads
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a program starts so; Ray leaves a handler of its own
    yield Smalti(capsys, monkeypatch)
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def model_path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "digits.smalti-model"
    model.save(path)
    return path


@pytest.fixture(scope="session")
def archive(folder, model_path, tmp_path_factory):
    """The class folders of digits as an archive, made by the command line."""
    path = tmp_path_factory.mktemp("archives") / "digits.smalti"
    assert run(["compress", str(folder.path), "--model", str(model_path), "-o", str(path), "-q", "--threads", "1"]) == 0
    return path
