"""Make the same eight shards with a local pool, as tasks of a job array and on Ray, killing workers and whole runs.

    python -m acceptance.check_bulk -o results/bulk.json [--source mnist/test] [--model NAME.smalti-model]

Without --model, the study's network is fitted quickly on the first 4,000 images of the source. In every run one worker
is killed with SIGKILL while it is at a shard, then the whole run is; it is started again and must make only what is
missing. Exit code 1 unless all shards have the same SHA-256 whoever made them. Linux; needs smalti[train,ray].
"""

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.harness import Findings
from benchmarks.processes import run_smalti, smalti_command
from smalti.codec.bulk.plan import read_plan
from smalti.codec.fit import fit_source
from smalti.sources.arrays.array_source import ArraySource
from smalti.sources.open import open_source
from smalti.training.paper.settings import FitSettings, QuantizerSettings

SHARDS = 8
FIT_IMAGES = 4_000
_POLL_SECONDS = 0.005


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("--source", default="mnist/test")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--without-ray", action="store_true")


def measure(arguments: argparse.Namespace) -> Findings:
    """Run all ways, and compare what they make."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = arguments.model or quick_model(arguments.source, folder / "quick.smalti-model")
        images = -(-len(open_source(arguments.source)) // SHARDS)
        plan = folder / "bulk.plan"
        run_smalti("plan", arguments.source, "--model", model, "--shard-images", images, "-o", plan)
        shards = Path(read_plan(plan).out_folder)
        figures: dict[str, Any] = {"source": arguments.source, "shards": SHARDS, "images_of_a_shard": images}
        figures["local pool"] = whole_run(plan, "--workers", 2)
        expected = hashes(shards)
        figures["sha256"] = expected
        engines = {"local pool": []} if arguments.without_ray else {"local pool": [], "ray": ["--engine", "ray"]}
        for way, engine in engines.items():
            shutil.rmtree(shards)
            killed = killed_runs(plan, shards, [*engine, "--workers", 2])
            figures[f"{way}, killed"] = killed | {"same_bytes": hashes(shards) == expected}
        if "ray" in engines:
            shutil.rmtree(shards)
            whole = whole_run(plan, *engines["ray"], "--workers", 2)
            figures["ray"] = whole | {"same_bytes": hashes(shards) == expected}
        shutil.rmtree(shards)
        figures["tasks 2/3, 0/3, 1/3"] = {
            "runs": [whole_run(plan, "--task", f"{task}/3") for task in (2, 0, 1)],
            "same_bytes": hashes(shards) == expected,
        }
    same = [way["same_bytes"] for way in figures.values() if isinstance(way, dict) and "same_bytes" in way]
    return Findings(figures, all(same))


def quick_model(source: str, path: Path) -> Path:
    """The study's network with a k-means start, after one epoch."""
    images = open_source(source)
    count = min(FIT_IMAGES, len(images))
    (batch,) = images.batches(count, 0, count)
    quantizer = QuantizerSettings(codebook_size=128, update="ema", start="kmeans", restart=True)
    model = fit_source(ArraySource(batch.pixels, description=source), FitSettings(quantizer=quantizer, epochs=1))
    model.save(path)
    return path


def whole_run(plan: Path, *how: Any) -> dict[str, Any]:
    """A run that nobody disturbs."""
    outcome = run_smalti("compress", "--plan", plan, *how)
    return {name: outcome[name] for name in ("done", "made_now", "images", "archive_bytes", "seconds")}


def killed_runs(plan: Path, shards: Path, how: list[Any]) -> dict[str, Any]:
    """Kill a worker once a shard is there, the run once three are, and start it again."""
    run = subprocess.Popen([*smalti_command("compress", "--plan", plan, *how), "--json"], stdout=subprocess.DEVNULL)
    wait_for(lambda: len(made(shards)) >= 1, run)
    worker = wait_for(lambda: workers(run.pid), run)[0]
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: len(made(shards)) >= 3, run)
    theirs = descendants(run.pid)
    run.kill()
    run.wait()
    wait_for(lambda: not any(is_alive(process) for process in theirs))  # they see that it is gone, and end
    left, times = made(shards), {name: (shards / name).stat().st_mtime_ns for name in made(shards)}
    outcome = run_smalti("compress", "--plan", plan, *how)
    assert all((shards / name).stat().st_mtime_ns == times[name] for name in left)
    return {
        "workers_killed": 1,
        "shards_left_by_the_killed_run": len(left),
        "made_by_the_next_run": outcome["made_now"],
        "hidden_files_left": len([path for path in shards.iterdir() if path.name.startswith(".")]),
    }


def workers(parent: int) -> list[int]:
    """Those of the run's processes that make shards: spawned ones, or actors that are at one."""
    lines = descendants(parent).items()
    return [process for process, line in lines if b"spawn_main" in line or b"ray::ShardMaker.attempt" in line]


def descendants(parent: int) -> dict[int, bytes]:
    """All processes that come from one, with their command lines."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and parent in ancestors(int(folder.name)):
                found[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
    return found


def is_alive(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def ancestors(process: int) -> list[int]:
    """The processes from which a process comes."""
    found = []
    while process > 1:
        process = int((Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[1])
        found.append(process)
    return found


def wait_for(ready: Any, run: "subprocess.Popen[bytes] | None" = None) -> Any:
    """What `ready` gives, once it gives something; a run that ends before cannot be killed, which ends this program."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        found = ready()
        if found:
            return found
        if run is not None and run.poll() is not None:
            raise SystemExit("the run ended before it could be killed: take more images")
        time.sleep(_POLL_SECONDS)
    raise TimeoutError("the run does not come to this")


def made(shards: Path) -> list[str]:
    """The archives of shards that are done."""
    return sorted(path.with_suffix(".smalti").name for path in shards.glob("shard-*.json"))


def hashes(shards: Path) -> dict[str, str]:
    """SHA-256 of every shard and of the manifest."""
    paths = [*shards.glob("shard-*.smalti"), *shards.glob("*.smalti-manifest")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths)}


if __name__ == "__main__":
    harness.main("acceptance.check_bulk", __doc__, declare, measure)
