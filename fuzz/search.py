"""Fuzz the reader of archives with atheris: coverage-guided, and aware of the format's structure.

    pip install 'smalti[fuzz]'
    python -m fuzz.search -o results/fuzz.json --seconds 3600 [--corpus build/fuzz]

Each input is an archive. Most mutations change the payload of one section and then write index, lengths and
checksums anew, as a hostile writer would; the others change bytes anywhere. Each is opened under small limits, read,
listed, verified and read with damage skipped. A finding is: an exception that is not a SmaltiError, an error of more
than one line, TIMEOUT seconds or MEMORY megabytes exceeded, a crash. Exit code 1 if there is one; its input is kept
in the corpus's folder `findings`.
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import harness
from benchmarks.harness import ROOT, Findings
from benchmarks.processes import fresh_command, fresh_environment

TIMEOUT = 20
MEMORY = 1024
# A process that fuzzes grows by some kilobytes an input, though a process that only reads the same inputs does not
# grow (docs/fuzzing.md). So none tries more than this, and MEMORY stays the limit of a single input.
ROUND_INPUTS = 10_000
_MAX_INPUT = 1 << 16


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("--seconds", type=int, default=3600)
    corpus = ROOT / "build" / "fuzz"
    parser.add_argument("--corpus", type=Path, default=corpus, help="inputs are kept here, to go on with")
    parser.add_argument("--seed", type=int, default=1)


def measure(arguments: argparse.Namespace) -> Findings:
    """Run atheris in a process of its own, which ends when it ends, and keep what it found."""
    findings, inputs = arguments.corpus / "findings", arguments.corpus / "inputs"
    for folder in (findings, inputs):
        folder.mkdir(parents=True, exist_ok=True)
    golden = sorted((ROOT / "conformance" / "golden").glob("*.smalti"))
    seeds = [path for path in golden if path.stat().st_size < _MAX_INPUT]
    for path in seeds:
        shutil.copy(path, inputs)
    started, rounds = time.monotonic(), []
    while (left := arguments.seconds - int(time.monotonic() - started)) > 0 and not list(findings.iterdir()):
        flags = [f"-max_total_time={left}", f"-runs={ROUND_INPUTS}", f"-timeout={TIMEOUT}", f"-rss_limit_mb={MEMORY}"]
        flags += [f"-max_len={_MAX_INPUT}", f"-artifact_prefix={findings}/", "-print_final_stats=1"]
        rounds.append(run_round([str(inputs), *flags, f"-seed={arguments.seed + len(rounds)}"]))
        if not rounds[-1]["inputs_tried"]:
            sys.exit("the process that fuzzes failed")
    kept = sorted(path.name for path in findings.iterdir())
    figures = {
        "hours": round((time.monotonic() - started) / 3600, 2),
        "seeds": [path.name for path in seeds],
        "inputs_tried": sum(each["inputs_tried"] for each in rounds),
        "peak_megabytes": max((each["peak_megabytes"] for each in rounds), default=0),
        "edges_covered": rounds[-1]["edges_covered"] if rounds else 0,
        "inputs_kept": len(list(inputs.iterdir())),
        "seconds_allowed": TIMEOUT,
        "megabytes_allowed": MEMORY,
        "findings": kept,
    }
    return Findings(figures, not kept)


def run_round(arguments: list[str]) -> dict[str, int]:
    """Fuzz in a process of its own, and return what libFuzzer said at its end."""
    command = fresh_command("fuzz.target", *arguments)
    environment = fresh_environment({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line.rstrip())
            if "\tpulse" in line or "DONE" in line:
                print(lines[-1], file=sys.stderr)
    if process.returncode:
        print("\n".join(lines[-60:]), file=sys.stderr)
    return statistics(lines)


def statistics(lines: list[str]) -> dict[str, int]:
    """What libFuzzer said at its end."""
    text = "\n".join(lines)
    covered = re.findall(r"cov: (\d+) ", text)
    return {
        "inputs_tried": _stat(text, "number_of_executed_units"),
        "peak_megabytes": _stat(text, "peak_rss_mb"),
        "edges_covered": int(covered[-1]) if covered else 0,
    }


def _stat(text: str, name: str) -> int:
    found = re.search(rf"stat::{name}:\s+(\d+)", text)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    harness.main("fuzz.search", __doc__, declare, measure)
