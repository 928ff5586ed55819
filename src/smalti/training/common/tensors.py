"""Tensors and settings in one safetensors file: numbers and JSON, never pickle."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from smalti.errors import ModelError
from smalti.storage.atomic import atomic_file, writing

__all__ = [
    "State",
    "adam_states",
    "adam_tensors",
    "packed_tensors",
    "read_checkpoint",
    "read_tensors",
    "stored_format",
    "unpacked_tensors",
    "with_prefix",
    "without_prefix",
    "write_tensors",
]

State = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors by name, and their JSON description: the result of `read_tensors`."""

ADAM_PREFIX = "adam."

METADATA_KEY = "smalti"
"""The one metadata key: with a single key the file's bytes do not depend on a hash map's order."""


def write_tensors(path: Path, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
    """Write tensors and a JSON description to `path` in one step: a kill leaves the old file or the new one.

    Raises SmaltiError, in one line, if the system refuses.
    """
    data = packed_tensors(tensors, description)
    with atomic_file(path, overwrite=True) as file, writing(path):
        file.write(data)


def packed_tensors(tensors: dict[str, Tensor], description: dict[str, Any]) -> bytes:
    """Return the bytes of a file of `write_tensors`."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    checked = {"description": description, "sha256": _digest(plain, description)}
    data: bytes = save_tensors(plain, {METADATA_KEY: json.dumps(checked, sort_keys=True)})
    return data


def read_tensors(path: Path, what: str, advice: str) -> State:
    """Return the tensors and the description from a file of `write_tensors`, checked by its SHA-256.

    what, advice : words for errors: the file's purpose, and a remedy

    Raises ModelError for every fault.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"there is no {what} {path}; check the path, or {advice}") from error
    except OSError as error:
        raise ModelError(f"cannot read the {what} {path}: {error.strerror}; check the path") from error
    return unpacked_tensors(data, path, what, advice)


def unpacked_tensors(data: bytes, path: Path, what: str, advice: str) -> State:
    """Return what `packed_tensors` was given, checked as by `read_tensors`. path : of the file, for errors"""
    try:
        tensors = load_tensors(data)
        checked = json.loads(_metadata(data)[METADATA_KEY])
        if "format" in checked:  # version 1 had the description itself here, and no checksum
            raise ModelError(f"{path} is a {what} of an older release; {advice}")
        description = dict(checked["description"])
    except ModelError:
        raise
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is not a smalti {what}, or it is damaged; {advice}") from error
    if checked["sha256"] != _digest(tensors, description):
        raise ModelError(f"{path}: this {what} is damaged: its SHA-256 is another than when it was written; {advice}")
    return tensors, description


def _metadata(data: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file that was loaded, so that its header is whole."""
    size = int.from_bytes(data[:8], "little")
    found: dict[str, str] = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    return found


def read_checkpoint(path: Path) -> State:
    """Return the content of a checkpoint; ModelError if it cannot be read."""
    return read_tensors(path, "checkpoint", "remove it to start anew")


def with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with a prefix before each name."""
    return {prefix + name: value for name, value in tensors.items()}


def without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names have a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def adam_tensors(optimizer: torch.optim.Adam) -> dict[str, Tensor]:
    """Return the state of an optimiser as tensors by name."""
    states = optimizer.state_dict()["state"]
    return {f"{ADAM_PREFIX}{index}.{name}": value for index, state in states.items() for name, value in state.items()}


def adam_states(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Return the state of an optimiser, by parameter: the inverse of `adam_tensors`. Other tensors are ignored."""
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in without_prefix(ADAM_PREFIX, tensors).items():
        index, name = key.split(".")
        states.setdefault(int(index), {})[name] = value
    return states


def stored_format(path: Path) -> str | None:
    """Return the "format" entry of a file, or None if it cannot be read; `read_tensors` then explains the fault."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        found = json.loads(metadata[METADATA_KEY])["description"]["format"]
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError):
        return None
    return found if isinstance(found, str) else None


def _digest(tensors: dict[str, Tensor], description: dict[str, Any]) -> str:
    """Return the SHA-256 of the description and of each tensor's name, dtype, shape and bytes."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name].numpy())
        digest.update(f"\n{name} {values.dtype.str} {list(values.shape)}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
