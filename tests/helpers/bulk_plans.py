"""A plan of bulk work, and the hashes of its shards."""

import hashlib
from pathlib import Path

from smalti.codec.bulk.plan import make_plan, write_plan

__all__ = ["planned", "shard_hashes"]


def planned(source, model_path, folder: Path, shard_images=10, request=None, options=None, **more) -> Path:
    """Write a plan into a folder, which will also hold the shards; return its path."""
    plan = make_plan(str(source), model_path, folder / "shards", shard_images, request, options, **more)
    write_plan(plan, folder / "digits.plan")
    return folder / "digits.plan"


def shard_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder of shards except the plan, by name."""
    files = [path for path in folder.iterdir() if path.name != "plan.json"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}
