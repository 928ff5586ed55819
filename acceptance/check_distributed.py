"""Fit with one process and with two ranks, and compare: the same quality, and the same bits on both ranks.

    python -m acceptance.check_distributed [-o results/distributed.json] [--images 10000] [--seeds 3] [--epochs 3]

Each fit is on the first images of the source, in batches of 64 however many ranks share them, with one thread a
process; errors are of the first 2,000 test images. The codebook is learned as in the study (`gradient`), and
with all cures of codebook collapse at once (`cured`: running means, a k-means start, restarts of dead codes). Exit
code 1 if ranks differ, or if two ranks and one differ by more than seeds do; with one seed only the former is told.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks import harness
from benchmarks.harness import ROOT, Findings
from benchmarks.processes import fresh_environment

NAME = "acceptance.check_distributed"
PAGE = ROOT / "docs" / "training.md"
RANKS = 2
VALIDATION_IMAGES = 2_000
CODES = 128
WAYS: dict[str, dict[str, Any]] = {
    "gradient": {},
    "cured": {"update": "ema", "start": "kmeans", "restart": True},
}


def fit_one(task: dict[str, Any]) -> dict[str, Any] | None:
    """Fit as this process, or as a rank of several; rank 0 returns what came out."""
    import torch  # noqa: PLC0415 (in the processes that fit only)

    from smalti.images.source import read_images  # noqa: PLC0415
    from smalti.sources.open import open_source  # noqa: PLC0415
    from smalti.training.common.distributed import joined  # noqa: PLC0415
    from smalti.training.common.training_images import TrainingImages  # noqa: PLC0415
    from smalti.training.paper.fit_grid import fit  # noqa: PLC0415
    from smalti.training.paper.settings import FitSettings, QuantizerSettings  # noqa: PLC0415

    torch.set_num_threads(1)
    quantizer = QuantizerSettings(codebook_size=CODES, **WAYS[task["way"]])
    settings = FitSettings(quantizer=quantizer, epochs=task["epochs"], seed=task["seed"])
    pixels = read_images(open_source(task["source"]), task["images"]).pixels
    validation = read_images(open_source(task["test"]), VALIDATION_IMAGES).pixels
    with joined() as group:
        group.barrier()
        begun = time.perf_counter()
        model = fit(TrainingImages(open_source(pixels)), validation, settings, group=group)
        seconds = time.perf_counter() - begun
        codes = model.network.quantizer.codebook.weight.detach().numpy()
        digests = group.texts(hashlib.sha256(codes.tobytes()).hexdigest())
    if not group.is_main:
        return None
    last = model.history[-1]
    return {
        "validation_mse": last["validation_mse"],
        "integer_mse": model.quantization["mse"],
        "codes_used": last["codes_used"],
        "perplexity": round(last["perplexity"], 2),
        "seconds": round(seconds, 1),
        "codebook_sha256": digests,
    }


def run(task: dict[str, Any], ranks: int) -> dict[str, Any]:
    """Fit in fresh processes."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"] if ranks > 1 else []
    command = [sys.executable, *(launch or ["-m"]), NAME, "--task", json.dumps(task)]
    done = subprocess.run(
        command, env=fresh_environment({"OMP_NUM_THREADS": "1"}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{task}, {ranks} ranks: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compare(way: str, common: dict[str, Any], seeds: int) -> dict[str, Any]:
    """Fit with each seed by one process and by two ranks."""
    rows = []
    for seed in range(seeds):
        task = {"way": way, "seed": seed, **common}
        one, two = run(task, 1), run(task, RANKS)
        row = {
            "seed": seed,
            "one_process": one,
            "two_ranks": two,
            "mse_difference": two["validation_mse"] - one["validation_mse"],
            "ranks_equal": len(set(two["codebook_sha256"])) == 1,
        }
        rows.append(row)
        print(
            f"{way} seed {seed}: MSE {one['validation_mse']:.6f} by one process in {one['seconds']} s, "
            f"{two['validation_mse']:.6f} by two ranks in {two['seconds']} s, codebooks of both ranks "
            f"{'equal' if row['ranks_equal'] else 'DIFFERENT'}",
            file=sys.stderr,
            flush=True,
        )
    alone = [row["one_process"]["validation_mse"] for row in rows]
    largest = max(abs(row["mse_difference"]) for row in rows)
    spread = max(alone) - min(alone)
    return {
        "settings": WAYS[way],
        "fits": rows,
        "largest_mse_difference": largest,
        "seed_to_seed_range": spread,
        "seed_to_seed_deviation": statistics.stdev(alone) if len(alone) > 1 else None,
        "ranks_equal": all(row["ranks_equal"] for row in rows),
        "within_noise": largest <= spread if seeds > 1 else None,
    }


def table(result: dict[str, Any], machine: str) -> str:
    """Return the result as Markdown."""
    lines = [
        f"{result['images']}, {result['epochs']} epochs, K = {result['codebook_size']}, gloo, one thread a process; "
        f"{machine}, which did other work too.",
        "",
        "| codebook | seed | MSE, one process | MSE, two ranks | difference | codebooks of the ranks | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for way, found in result["ways"].items():
        for row in found["fits"]:
            one, two = row["one_process"], row["two_ranks"]
            lines.append(
                f"| {way} | {row['seed']} | {one['validation_mse']:.6f} | {two['validation_mse']:.6f} "
                f"| {row['mse_difference']:+.6f} | {'the same bits' if row['ranks_equal'] else '**DIFFERENT**'} "
                f"| {one['seconds']:.0f} and {two['seconds']:.0f} |"
            )
    for way, found in result["ways"].items():
        lines += [
            "",
            f"`{way}`: two ranks and one differ by {found['largest_mse_difference']:.6f} at most, "
            f"seeds by up to {found['seed_to_seed_range']:.6f}.",
        ]
    return "\n".join(lines)


def declare(parser: argparse.ArgumentParser) -> None:
    """What is on the command line."""
    parser.add_argument("--source", default="mnist/train")
    parser.add_argument("--test", default="mnist/test", help="images that errors are measured on")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--page", action="store_true", help="write the table into docs/training.md")
    parser.add_argument("--task", help=argparse.SUPPRESS)


def measure(arguments: argparse.Namespace) -> Findings:
    """Fit all; or be the process of one fit."""
    if arguments.task:
        found = fit_one(json.loads(arguments.task))
        if found is not None:
            print(json.dumps(found))
        sys.exit()
    common = {name: getattr(arguments, name) for name in ("source", "test", "images", "epochs")}
    ways = {way: compare(way, common, arguments.seeds) for way in WAYS}
    result = {
        "images": f"the first {arguments.images:,} of {arguments.source}",
        "codebook_size": CODES,
        "epochs": arguments.epochs,
        "batch_images": 64,
        "backend": "gloo",
        "threads_of_a_process": 1,
        "ways": ways,
    }
    if arguments.page:
        harness.write_between_marks(PAGE, NAME, table(result, harness.machine()))
    sound = all(way["ranks_equal"] and way["within_noise"] is not False for way in ways.values())
    return Findings(result, sound, arguments.seeds)


if __name__ == "__main__":
    harness.main(NAME, __doc__, declare, measure)
