import re
import subprocess
import sys

import pytest

import smalti as package
from helpers.command_line import names
from smalti.cli import info_command, run

COMMANDS = ("fit", "compress", "decompress", "get", "info", "test", "study")


def test_help_names_every_command(smalti):
    ran = smalti("--help")
    assert ran.code == 0 and all(f"\n  {command} " in ran.out for command in COMMANDS)
    assert "...\n" not in ran.out.partition("\n")[2]  # no description is cut short


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_the_common_options(smalti, command):
    ran = smalti(command, "-h")
    assert ran.code == 0 and ran.err == ""
    for option in ("--json", "-q, --quiet", "--threads N", "--debug"):
        assert option in ran.out
    assert not re.search(r"\s\.\s", ran.out)  # no default in [brackets] was taken for markup


def test_the_version(smalti):
    assert smalti("--version").out == f"smalti {package.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compres"], "Did you mean 'compress'"),
        (["inof", "x"], "Did you mean 'info'"),
        (["fit", "x", "-o", "y", "--codebok-size", "3"], "--codebook-size"),
        (["fit"], "see smalti fit --help"),
        (["fit", "x"], "--output"),
        (["fit", "x", "-o", "y", "--epochs", "0"], "--epochs"),
        (["fit", "x", "-o", "y", "--profile", "papper"], "paper"),
        (["info"], "ARCHIVE"),
        (["info", "a", "b"], "b"),
        (["get", "a", "-o", "b"], "INDEX"),
        (["get", "a", "first", "-o", "b"], "INDEX"),
        (["get", "a", "-1", "-o", "b"], "an index from the end is given after --"),
        (["--colour"], "--colour"),
        (["study", "-o", "x", "--codebook-sizes", "64;128"], "separated by commas"),
        (["study", "photos", "-o", "x"], "name mnist"),
    ],
)  # fmt: skip
def test_usage_errors_end_with_2_and_one_line_that_helps(smalti, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in smalti.fails(2, *arguments)
    assert names(tmp_path) == []


def test_no_command_shows_the_help(smalti):
    ran = smalti()
    assert ran.code == 2 and "Commands:" in ran.out + ran.err


def test_a_name_that_is_almost_that_of_a_set_is_guessed(smalti, tmp_path):
    assert "did you mean mnist?" in smalti.fails(1, "fit", "mnst", "-o", tmp_path / "m")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted; nothing was left half-written"),
        (MemoryError(), 1, "out of memory"),
        (PermissionError(13, "Permission denied", "/x/y"), 1, "/x/y: Permission denied"),
        (RuntimeError("two\nlines"), 1, "a fault of smalti: RuntimeError: two lines; please report it"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_error_is_one_line(smalti, monkeypatch, error, code, words):
    def fail(*arguments, **settings):
        raise error

    monkeypatch.setattr(info_command, "open_images", fail)
    assert words in smalti.fails(code, "info", "x")


def test_debug_shows_the_traceback(smalti):
    with pytest.raises(package.SmaltiError):
        smalti("info", "absent", "--debug")


def test_a_reader_that_has_gone_is_no_traceback(archive):
    command = f"{sys.executable} -m smalti info {archive}"
    script = f"{command} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == "" and done.returncode in (0, 1)  # 0 if all was said before the reader went


def test_a_closed_output_is_no_fault(archive, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert run(["info", str(archive)]) == 0
