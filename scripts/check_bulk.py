"""Make the same eight shards with a local pool, as tasks of a job array and on Ray, killing workers and whole runs.

    python scripts/check_bulk.py -o results/bulk.json [--source mnist/test] [--model NAME.smalti-model]

Without --model, the study's network is fitted quickly on the first 4,000 images of mnist/train. In every run one worker
is killed with SIGKILL while it is at a shard, then the whole run is; it is started again and must make only what is
missing. Exit code 1 unless all shards have the same SHA-256 whoever made them. Linux; needs smalti[train,ray].
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from smalti.codec.bulk.plan import read_plan
from smalti.codec.fitting import fit_source
from smalti.sources.arrays.array_source import ArraySource
from smalti.sources.open import open_source
from smalti.study.machine import describe_machine
from smalti.training.paper.settings import FitSettings, QuantizerSettings

SHARDS = 8
FIT_IMAGES = 4_000
_POLL_SECONDS = 0.005


def main() -> None:
    """Run all ways, compare, and write what happened."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--source", default="mnist/test")
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = arguments.model or quick_model(folder / "quick.smalti-model")
        images = -(-len(open_source(arguments.source)) // SHARDS)
        plan = folder / "bulk.plan"
        smalti("plan", arguments.source, "--model", model, "--shard-images", images, "-o", plan)
        shards = Path(read_plan(plan).out_folder)
        result: dict[str, Any] = {
            "command": f"python scripts/check_bulk.py -o {arguments.output} --source {arguments.source}"
            + (f" --model {arguments.model.name}" if arguments.model else ""),
            "machine": describe_machine(),
            "source": arguments.source,
            "shards": SHARDS,
            "images_of_a_shard": images,
        }
        result["local pool"] = whole_run(plan, shards, "--workers", 2)
        expected = hashes(shards)
        result["sha256"] = expected
        for way, engine in (("local pool", []), ("ray", ["--engine", "ray"])):
            shutil.rmtree(shards)
            told = killed_runs(plan, shards, [*engine, "--workers", 2])
            result[f"{way}, killed"] = told | {"same_bytes": hashes(shards) == expected}
        shutil.rmtree(shards)
        result["ray"] = whole_run(plan, shards, "--engine", "ray", "--workers", 2) | {
            "same_bytes": hashes(shards) == expected
        }
        shutil.rmtree(shards)
        result["tasks 2/3, 0/3, 1/3"] = {
            "runs": [whole_run(plan, shards, "--task", f"{task}/3") for task in (2, 0, 1)],
            "same_bytes": hashes(shards) == expected,
        }
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    sys.exit(0 if all(way.get("same_bytes", True) for way in result.values() if isinstance(way, dict)) else 1)


def quick_model(path: Path) -> Path:
    """The study's network with a k-means start, after one epoch."""
    (batch,) = open_source("mnist/train").batches(FIT_IMAGES, 0, FIT_IMAGES)
    quantizer = QuantizerSettings(codebook_size=128, update="ema", start="kmeans", restart=True)
    model = fit_source(ArraySource(batch.pixels, description="mnist/train"), FitSettings(quantizer=quantizer, epochs=1))
    model.save(path)
    return path


def smalti(*arguments: Any) -> dict[str, Any]:
    """Run a command and return what it says as JSON."""
    ran = subprocess.run(command(*arguments), stdout=subprocess.PIPE, check=False, text=True)
    if ran.returncode:
        raise SystemExit(f"{arguments} ended with exit code {ran.returncode}: {ran.stdout}")
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


def command(*arguments: Any) -> list[str]:
    """A command of smalti for a process of its own."""
    return [sys.executable, "-m", "smalti", *map(str, arguments), "--json"]


def whole_run(plan: Path, shards: Path, *how: Any) -> dict[str, Any]:
    """A run that nobody disturbs."""
    told = smalti("compress", "--plan", plan, *how)
    return {name: told[name] for name in ("done", "made_now", "images", "archive_bytes", "seconds")}


def killed_runs(plan: Path, shards: Path, how: list[Any]) -> dict[str, Any]:
    """Kill a worker once a shard is there, the run once three are, and start it again."""
    run = subprocess.Popen(command("compress", "--plan", plan, *how), stdout=subprocess.DEVNULL)
    wait_for(lambda: len(made(shards)) >= 1)
    worker = wait_for(lambda: workers(run.pid))[0]
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: len(made(shards)) >= 3)
    theirs = descendants(run.pid)
    run.kill()
    run.wait()
    wait_for(lambda: not any(is_alive(process) for process in theirs))  # they see that it is gone, and end
    left, times = made(shards), {name: (shards / name).stat().st_mtime_ns for name in made(shards)}
    told = smalti("compress", "--plan", plan, *how)
    assert all((shards / name).stat().st_mtime_ns == times[name] for name in left)
    return {
        "workers_killed": 1,
        "shards_left_by_the_killed_run": len(left),
        "made_by_the_next_run": told["made_now"],
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


def wait_for(asked: Any) -> Any:
    """What is asked for, once it is there."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        found = asked()
        if found:
            return found
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
    main()
