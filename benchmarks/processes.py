"""Programs in processes of their own, and how much memory a process takes."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT

_PEAK = (
    "import resource, subprocess, sys, time; begun = time.perf_counter(); code = subprocess.call(sys.argv[2:]); "
    "open(sys.argv[1], 'w').write(f'{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss} "
    "{time.perf_counter() - begun}'); sys.exit(code)"
)


def fresh_environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process in which the project's programs can be imported."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **(variables or {})}


def fresh_command(module: str, *words: Any) -> list[str]:
    """The command that runs a module of the project in a process of its own."""
    return [sys.executable, "-m", module, *map(str, words)]


def in_fresh_process(module: str, *words: Any, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a module prints, as JSON, in a process of its own; one thread for each BLAS unless `variables` says else."""
    environment = fresh_environment({"OMP_NUM_THREADS": "1", **(variables or {})})
    ran = subprocess.run(fresh_command(module, *words), stdout=subprocess.PIPE, check=True, env=environment)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def smalti_command(*words: Any) -> list[str]:
    """A command of smalti's, for a process of its own."""
    return [sys.executable, "-m", "smalti", *map(str, words)]


def run_smalti(*words: Any) -> dict[str, Any]:
    """Run a command of smalti's and return what it says as JSON; its failure ends this program."""
    ran = subprocess.run(smalti_command(*words, "--json"), stdout=subprocess.PIPE, check=False, text=True)
    if ran.returncode:
        raise SystemExit(f"smalti {shlex.join(map(str, words))} ended with exit code {ran.returncode}: {ran.stdout}")
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def peak_and_seconds(command: Sequence[str], scratch: Path) -> tuple[float, float]:
    """The largest resident set in MiB of a command, as the system counts it, and its wall seconds.

    scratch : a file that this function may write
    """
    watched = [sys.executable, "-c", _PEAK, str(scratch), *command]
    ran = subprocess.run(watched, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"{shlex.join(command)} ended with {ran.returncode}: {ran.stderr}")
    peak, seconds = map(float, scratch.read_text().split())
    return round(peak / (1024 if sys.platform != "darwin" else 1 << 20), 1), seconds


def peak_mb() -> float:
    """The most memory in MB that this process has had. Linux; what getrusage says begins with that of its parent."""
    status = Path("/proc/self/status").read_text()
    return round(int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6, 1)


def resident_mb() -> float:
    """Memory of this process now, in MB. Linux."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
