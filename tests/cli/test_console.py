import io
import os
import signal
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import typer
from PIL import Image

from inputs.making import png
from smalti.cli.command_observer import CommandObserver
from smalti.cli.console import Console, escaped
from smalti.cli.interruption import stop_on_interrupt
from smalti.cli.options import report_skipped
from smalti.images.batch import SkippedFile

SMALTI = [sys.executable, "-m", "smalti"]
NOT_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "OMP_NUM_THREADS": "1"}


def smalti_in_shell(arguments, redirection, **environment):
    """Run the command line with a redirection of the shell, such as 2>&-."""
    script = f'"$0" -m smalti "$@" {redirection}'
    command = ["bash", "-c", script, sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, env={**os.environ, **environment})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 日, é, C:\\x", "plain, 日, é, C:\\x"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\r\tc\x7f", "a\\nb\\r\\tc\\x7f"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202egnp.exe\u2069", "\\u202egnp.exe\\u2069"),
        ("\u2028", "\\u2028"),
        ("\udce9t\ud800", "\\xe9t\\ud800"),
    ],
)
def test_control_characters_are_written_out(text, shown):
    assert escaped(text) == shown


def test_names_of_others_write_no_lines_and_no_colours(smalti, model_path, digits, tmp_path):
    hostile = "\x1b[2J\nsmalti: all is well\u202e.txt"
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in (("0.png", png(digits.images[0])), (hostile, b"text"), ("\x1b]0;x.png", b"no image")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    ran = smalti("compress", path, "--model", model_path, "-o", tmp_path / "a.smalti", "--threads", 1)
    assert ran.code == 3, ran
    assert "\\x1b[2J\\nsmalti: all is well\\u202e.txt" in ran.err and "\\x1b]0;x.png" in ran.err
    said = ran.err.split("\n")
    assert sum(line.startswith("smalti: skipped ") for line in said) == 2, ran.err
    assert not any(line.startswith("smalti: all is well") for line in said)
    assert "\x1b" not in ran.out + ran.err and "\u202e" not in ran.out + ran.err
    line = smalti.fails(1, "compress", path, "--model", model_path, "-o", tmp_path / "b.smalti", "--strict")
    assert "\x1b" not in line and "\\x1b" in line


def test_a_result_keeps_its_lines_and_escapes_the_rest(capsys):
    Console(json=False, quiet=False).result({}, "one\ntwo \x1b[1m")
    assert capsys.readouterr().out == "one\ntwo \\x1b[1m\n"


def test_a_closed_stderr_is_no_fault(archive, digits, model_path, tmp_path):
    np.save(tmp_path / "a.npy", digits.images[:4])
    out = tmp_path / "a.smalti"
    done = smalti_in_shell(
        ["compress", tmp_path / "a.npy", "--model", model_path, "-o", out, "--threads", 1], "2>&-", OMP_NUM_THREADS="1"
    )
    assert done.returncode == 0 and done.stderr == b"" and out.exists(), done
    done = smalti_in_shell(["info", "absent"], "2>&-")
    assert (done.returncode, done.stdout) == (1, b"")


@pytest.mark.parametrize("arguments", [["info", "--json"], ["info"]])
def test_a_full_disk_below_stdout_is_one_line(archive, arguments):
    done = smalti_in_shell([*arguments, archive], "> /dev/full")
    assert done.returncode == 1
    assert done.stderr.decode() == (
        "smalti: standard output: cannot be written: No space left on device; redirect it to another file\n"
    )


def test_messages_that_nobody_can_receive_stop_nothing(archive):
    done = smalti_in_shell(["info", archive, "--json"], "2> /dev/full")
    assert done.returncode == 0 and b'"images"' in done.stdout
    assert smalti_in_shell(["info", "absent"], "2> /dev/full").returncode == 1


def test_names_are_utf8_in_every_locale(model_path, digits, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(digits.images[0]).save(folder / "日.png")
    packed, out = tmp_path / "a.smalti", tmp_path / "out"
    environment = {**os.environ, **NOT_UTF8}
    environment.pop("PYTHONIOENCODING", None)

    def run(*arguments):
        return subprocess.run(
            [*SMALTI, *map(str, arguments)], capture_output=True, text=True, encoding="ascii", check=False,
            env=environment,
        )  # fmt: skip

    done = run("compress", folder, "--model", model_path, "-o", packed, "--threads", 1)
    assert done.returncode == 0, done.stderr
    import smalti  # noqa: PLC0415

    with smalti.open(packed) as archive:
        assert list(archive.names) == ["日.png"]
    done = run("decompress", packed, "-o", out)
    assert done.returncode == 0, done.stderr
    assert [os.fsencode(path.name) for path in out.iterdir()] == ["日.png".encode()]
    done = run("info", tmp_path / "日.smalti")
    assert done.returncode == 1 and "\\u65e5.smalti" in done.stderr


def test_sigterm_asks_long_work_to_stop_and_again_stops_it():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stop_on_interrupt() as stopping:
        assert not stopping()
        signal.raise_signal(signal.SIGTERM)
        assert stopping()
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_that_the_caller_ignores_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stop_on_interrupt() as stopping:
            signal.raise_signal(signal.SIGTERM)
            assert not stopping()
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_worker_that_was_forked_meanwhile_still_ends_by_sigterm():
    with stop_on_interrupt() as stopping:
        child = os.fork()
        if child == 0:
            signal.raise_signal(signal.SIGTERM)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM and not stopping()


def test_a_log_gets_a_line_of_progress_now_and_then(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("smalti.cli.console.time.monotonic", lambda: now[0])
    with Console(json=False, quiet=False).progress("fit photo") as progress:
        for step in range(1001):
            progress(step, 1000)
            now[0] += 0.5
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "fit photo: 120 of 1,000, about 0:07:20 left" and len(lines) == 8
    with Console(json=False, quiet=True).progress("fit photo") as progress:
        progress(1, 2)
        now[0] += 100
        progress(1, 2)
    assert capsys.readouterr().err == ""


def test_each_part_of_a_stage_has_its_own_bar(monkeypatch):
    titles = []
    console = Console(json=False, quiet=False)
    progress = console.progress
    monkeypatch.setattr(console, "progress", lambda title: titles.append(title) or progress(title))
    with CommandObserver(console) as observer:
        observer.on_stage("fit photo", stops=True)
        observer.on_step("fit", 1, 2)
        observer.on_stage("compress", stops=False)
        for stage in ("encode", "encode", "search", "write"):
            observer.on_step(stage, 1, 2)
    assert titles == ["fit photo", "compress", "compress: encode", "compress: search", "compress: write"]


def test_images_of_one_damaged_file_are_told_in_one_line(capsys):
    planes = [SkippedFile(f"scan.nii.gz#{number}", "damaged") for number in range(200)]
    with pytest.raises(typer.Exit):
        report_skipped([*planes, SkippedFile("b.png", "damaged")], Console(json=False, quiet=False))
    assert capsys.readouterr().err.splitlines() == [
        "smalti: skipped scan.nii.gz#0 and 199 more: damaged",
        "smalti: skipped b.png: damaged",
    ]
