"""Benchmarks and slow checks write JSON of one schema; a tiny one of each runs from end to end."""

import importlib
import json
import shlex
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks import harness
from benchmarks.harness import ROOT, Findings, Report
from benchmarks.processes import fresh_command, fresh_environment, peak_and_seconds
from benchmarks.timing import in_turns, summary

GOLDEN = ROOT / "conformance" / "golden"
NOT_PROGRAMS = {
    "__init__",
    "check_cuda",
    "harness",
    "loader_peers",
    "processes",
    "sets",
    "speed_plots",
    "timing",
    "walk",
    "test_all",
}  # check_cuda runs bare


def run(module, *words):
    command = fresh_command(module, *words)
    return subprocess.run(command, cwd=ROOT, env=fresh_environment(), capture_output=True, text=True, check=False)


def test_a_tiny_benchmark_from_end_to_end(tmp_path):
    output, words = tmp_path / "report.json", ["--rounds", "1", "--openings", "1", "--threads", "1"]
    ran = run("benchmarks.decoding", GOLDEN / "format-1-recoverable.smalti", *words, "-o", output)
    assert ran.returncode == 0, ran.stderr
    report = Report.read(output)
    assert json.loads(ran.stdout) == asdict(report)
    assert (report.schema, report.name, report.rounds, report.passed) == (1, "benchmarks.decoding", 1, None)
    plain = shlex.join(["format-1-recoverable.smalti", *words, "-o", "report.json"])
    assert report.command == f"python -m benchmarks.decoding {plain}", "paths of this machine say nothing to others"
    assert report.versions["python"] and report.versions["numpy"] and report.figures["images"] == 300
    assert report.figures["sgemm_multiply_adds_per_second"] > 0


def test_a_tiny_check_from_end_to_end(tmp_path):
    ran = run("acceptance.check_random_access", GOLDEN / "format-1-plain.smalti", "-o", tmp_path / "report.json")
    assert ran.returncode == 0 and Report.read(tmp_path / "report.json").passed is True
    assert Report.read(tmp_path / "report.json").figures["different"] == 0


@pytest.mark.parametrize("passed", [True, False, None])
def test_the_exit_code_says_whether_a_check_holds(monkeypatch, capsys, passed):
    monkeypatch.setattr("sys.argv", ["check"])
    with pytest.raises(SystemExit) as ended:
        harness.main("acceptance.check", "A check.", lambda _: None, lambda _: Findings({"images": 3}, passed))
    assert ended.value.code == (passed is False)
    assert json.loads(capsys.readouterr().out)["figures"] == {"images": 3}


def report(**changes):
    return replace(harness.report_of("benchmarks.some", ["x"], Findings({"images": 3}), 1.5), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"figures": {}},
        {"figures": []},
        {"seconds": -1.0},
        {"versions": {"python": 3}},
        {"passed": "yes"},
        {"command": None},
    ],
)
def test_what_is_no_report_is_refused(tmp_path, changes):
    report(**changes).write(tmp_path / "report.json")
    with pytest.raises(ValueError, match="report"):
        Report.read(tmp_path / "report.json")


def test_other_keys_are_refused():
    plain = asdict(report())
    for other in ({**plain, "more": 1}, {key: value for key, value in plain.items() if key != "machine"}, []):
        with pytest.raises(ValueError, match="keys"):
            harness.check(other)


def test_earlier_figures_are_those_of_the_same_program(tmp_path):
    path = tmp_path / "report.json"
    assert harness.earlier(path, "benchmarks.some") == harness.earlier(None, "benchmarks.some") == {}
    report().write(path)
    assert harness.earlier(path, "benchmarks.some") == {"images": 3}
    with pytest.raises(SystemExit, match=r"benchmarks\.some, not of benchmarks\.other"):
        harness.earlier(path, "benchmarks.other")


def test_rounds_and_their_summary():
    calls = []
    seconds = in_turns({"one": lambda: calls.append(1), "two": lambda: calls.append(2)}, 2)
    assert calls == [1, 2, 1, 2, 1, 2] and [len(seconds[name]) for name in ("one", "two")] == [2, 2]
    assert summary([1, 4, 2]) == {"median_seconds": 2, "least_seconds": 1, "most_seconds": 4}


def test_the_memory_of_a_command(tmp_path):
    small, _ = peak_and_seconds([sys.executable, "-c", "pass"], tmp_path / "peak")
    large, seconds = peak_and_seconds([sys.executable, "-c", "bytes(range(200)) * 1_000_000"], tmp_path / "peak")
    assert large > small + 150 and seconds > 0
    with pytest.raises(SystemExit, match="ended with 2"):
        peak_and_seconds([sys.executable, "-c", "raise SystemExit(2)"], tmp_path / "peak")


PROGRAMS = [
    f"{folder}.{path.stem}"
    for folder in ("acceptance", "benchmarks")
    for path in sorted((ROOT / folder).glob("*.py"))
    if path.stem not in NOT_PROGRAMS
] + ["fuzz.search"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_is_one_and_is_listed(name, monkeypatch, capsys):
    program = importlib.import_module(name)
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        harness.main(name, program.__doc__, program.declare, program.measure)
    assert ended.value.code == 0 and f"usage: python -m {name}" in capsys.readouterr().out
    assert f"python -m {name} " in program.__doc__, "the docstring says how it is run"
    page = ROOT / "docs" / "fuzzing.md" if name.startswith("fuzz") else ROOT / name.partition(".")[0] / "README.md"
    assert f"python -m {name} " in page.read_text("utf-8")


def test_results_that_pages_name_are_there():
    for folder in ("benchmarks", "acceptance"):
        page = (ROOT / folder / "README.md").read_text("utf-8")
        named = [word.partition(")")[0] for word in page.split("](../")[1:]]
        assert named and all((ROOT / Path(name)).exists() for name in named), named
