"""What every benchmark and every slow check shares: its command line, its JSON file, its clock and its memory.

A program states its arguments and returns `Findings`. `main` adds the machine, the versions and the seconds,
and writes one `Report`. What programs measure with is in `timing` and `processes`.

    python -m benchmarks.decoding ARCHIVE -o results/decoding.json
    python -m acceptance.check_damage ARCHIVE -o results/damage.json

Programs are run from the project's root. Exit code 1 if a check does not hold.
"""

import argparse
import importlib.metadata
import json
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from smalti.bench.records import describe_machine
from smalti.storage.atomic import atomic_file

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = 1
PACKAGES = ("smalti", "numpy", "constriction", "Pillow", "torch")


@dataclass(frozen=True)
class Findings:
    """What a program found.

    figures : what it measured, as JSON can hold it
    passed : whether what it checks holds; None for a benchmark, which checks nothing
    rounds : how often each thing was measured, None where that means nothing
    """

    figures: dict[str, Any]
    passed: bool | None = None
    rounds: int | None = None


@dataclass(frozen=True)
class Report:
    """The JSON file of a program: every one has these keys and no others.

    schema : version of these keys
    name : of the program, such as "benchmarks.decoding"
    command : as it was typed, paths without their folders
    machine : cores, processor, system; never the machine's name
    versions : of Python and of the packages that matter
    commit : of the project, with a "+" if files had been changed, None outside a repository
    seconds : wall time of all of it
    """

    schema: int
    name: str
    command: str
    machine: str
    versions: dict[str, str]
    commit: str | None
    rounds: int | None
    passed: bool | None
    seconds: float
    figures: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Report":
        """The report in a file. Raises ValueError if the file is none."""
        found = json.loads(path.read_text(encoding="utf-8"))
        check(found)
        return cls(**found)

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)
        with atomic_file(path, overwrite=True) as file:
            file.write(f"{text}\n".encode())


_TYPES: dict[str, tuple[type, ...]] = {
    "schema": (int,),
    "name": (str,),
    "command": (str,),
    "machine": (str,),
    "versions": (dict,),
    "commit": (str, type(None)),
    "rounds": (int, type(None)),
    "passed": (bool, type(None)),
    "seconds": (float, int),
    "figures": (dict,),
}


def check(found: Any) -> None:
    """Raise ValueError unless this is what a report's JSON holds."""
    if not isinstance(found, dict) or set(found) != {field.name for field in fields(Report)}:
        raise ValueError(f"a report has the keys {', '.join(_TYPES)}")
    for key, types in _TYPES.items():
        if not isinstance(found[key], types):
            raise ValueError(f"{key} of a report is {found[key]!r}")
    if found["schema"] != SCHEMA or found["seconds"] < 0 or not found["figures"]:
        raise ValueError(f"a report of schema {found['schema']} with {len(found['figures'])} figures")
    if not all(isinstance(version, str) for version in found["versions"].values()):
        raise ValueError("versions of a report are strings")


def main(
    name: str,
    document: str,
    declare: Callable[[argparse.ArgumentParser], None],
    measure: Callable[[argparse.Namespace], Findings],
) -> None:
    """Run a program: its arguments, its measurement, its report; the exit code is 1 if a check does not hold.

    name : of its module, such as "benchmarks.decoding"
    document : its docstring, the help text
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}", description=document, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    declare(parser)
    parser.add_argument("-o", "--output", type=Path, help="where the report is written [default: it is printed alone]")
    arguments = parser.parse_args()
    if arguments.output and not arguments.output.parent.is_dir():
        parser.error(f"there is no folder {arguments.output.parent}; make it first")
    begun = time.perf_counter()
    findings = measure(arguments)
    report = report_of(name, sys.argv[1:], findings, time.perf_counter() - begun)
    print(json.dumps(asdict(report), indent=2, ensure_ascii=False), flush=True)  # first: hours must not be lost
    if arguments.output:
        report.write(arguments.output)
    sys.exit(1 if findings.passed is False else 0)


def report_of(name: str, words: Sequence[str], findings: Findings, seconds: float) -> Report:
    """The report of findings on this machine."""
    return Report(
        SCHEMA,
        name,
        command_line(name, words),
        machine(),
        versions(),
        commit(),
        findings.rounds,
        findings.passed,
        round(seconds, 1),
        findings.figures,
    )


def command_line(name: str, words: Sequence[str]) -> str:
    """A program's command; absolute paths lose their folders, which say nothing to others."""
    plain = [Path(word).name if Path(word).is_absolute() else word for word in words]
    return shlex.join(["python", "-m", name, *plain])


def machine() -> str:
    """Cores, processor and system."""
    return describe_machine()


def versions() -> dict[str, str]:
    """Python, and the packages that are installed of those that matter."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package.lower()] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The project's commit, with a "+" if files of it were changed since; None if git knows of none."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + "+" * bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*words: str) -> str:
    ran = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def earlier(path: Path | None, name: str) -> dict[str, Any]:
    """The figures that a program found before, so that it goes on where it ended; {} if there are none."""
    if path is None or not path.exists():
        return {}
    report = Report.read(path)
    if report.name != name:
        raise SystemExit(f"{path}: is a report of {report.name}, not of {name}")
    return report.figures


def write_between_marks(page: Path, program: str, text: str) -> None:
    """Put text between the marks that a program has on a page of docs."""
    begin, end = f"<!-- begin: made by {program} -->", "<!-- end -->"
    before, rest = page.read_text(encoding="utf-8").split(begin)
    after = rest.split(end, 1)[1]
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
