"""Commands that torchrun has started; tests/training/test_distributed.py runs torchrun itself."""

import signal

import pytest

from smalti import threads
from smalti.cli import ranks
from smalti.cli.ranks import QuietConsole, one_voice
from smalti.threads import threads_of_rank
from smalti.training.common.distributed import ALONE, ProcessGroup, RankError


class SecondOfTwo(ProcessGroup):
    rank, size = 1, 2


@pytest.fixture(autouse=True)
def no_last_word(monkeypatch):
    monkeypatch.setattr(ranks, "LAST_WORD_SECONDS", 0.0)


@pytest.fixture
def under_torchrun(monkeypatch):
    def start(rank):
        for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}.items():
            monkeypatch.setenv(name, str(value))

    return start


def test_compress_is_refused_by_rank_0_in_one_line(smalti, under_torchrun, tmp_path):
    under_torchrun(0)
    line = smalti.fails(2, "compress", "images.npy", "-o", tmp_path / "a.smalti")
    assert "runs in one process" in line and "--model" in line


def test_compress_is_refused_by_other_ranks_without_a_word(smalti, under_torchrun, tmp_path, capsys):
    under_torchrun(1)
    with pytest.raises(SystemExit) as ended:
        smalti("compress", "images.npy", "-o", tmp_path / "a.smalti")
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", "")


def test_cores_are_shared_by_the_ranks_of_a_machine(under_torchrun, monkeypatch):
    monkeypatch.setattr(threads, "default_threads", lambda: 5)
    assert threads_of_rank(None) == 5
    under_torchrun(0)
    assert threads_of_rank(None) == 2 and threads_of_rank(4) == 4
    monkeypatch.setattr(threads, "default_threads", lambda: 1)
    assert threads_of_rank(None) == 1


def test_only_rank_0_raises_what_all_ranks_know():
    with pytest.raises(RankError), one_voice(ALONE):
        raise RankError("rank 1: no images", 4)
    with pytest.raises(SystemExit) as ended, one_voice(SecondOfTwo()):
        raise RankError("rank 1: no images", 4)
    assert ended.value.code == 4
    with pytest.raises(SystemExit) as ended, one_voice(SecondOfTwo()):
        raise KeyboardInterrupt
    assert ended.value.code == 130


def test_other_ranks_tell_what_they_alone_know():
    with pytest.raises(ValueError, match="only here"), one_voice(SecondOfTwo()):
        raise ValueError("only here")


def test_a_quiet_console_says_nothing(capsys):
    console = QuietConsole()
    console.say("a")
    console.warn("b")
    console.result({"c": 1}, "d")
    with console.progress("e") as progress:
        progress(1, 2)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "command",
    [
        ["append", "a.smalti", "b.smalti"],
        ["drop", "a.smalti", "0"],
        ["relabel", "a.smalti", "0=1"],
        ["merge", "a.smalti", "b.smalti", "-o", "c.smalti"],
        ["repair", "a.smalti", "-o", "c.smalti"],
    ],
    ids=lambda command: command[0],
)
def test_changes_of_archives_are_refused(smalti, under_torchrun, command):
    """Before: each rank made the change."""
    under_torchrun(0)
    line = smalti.fails(2, *command)
    assert f"smalti {command[0]} runs in one process, not under torchrun" in line


@pytest.mark.parametrize(("rank", "lines"), [(0, ["smalti: interrupted; nothing was left half-written"]), (1, [])])
def test_a_rank_that_torchrun_ends_says_nothing(smalti, monkeypatch, tmp_path, rank, lines):
    def stop(arguments):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("smalti.cli.commands.run_command", stop)
    monkeypatch.setenv("RANK", str(rank))
    ran = smalti("info", tmp_path)
    assert ran.code == 130 and ran.err.splitlines() == lines
