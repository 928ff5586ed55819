"""Tensors and settings in one safetensors file: numbers and JSON, never pickle."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from smalti.errors import ModelError
from smalti.storage.atomic import atomic_file, writing

__all__ = ["read_tensors", "stored_format", "write_tensors"]

METADATA_KEY = "smalti"
"""The one metadata key: with a single key the file's bytes do not depend on a hash map's order."""


def write_tensors(path: Path, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
    """Write tensors and a JSON description to `path` at once: a kill leaves the old file or the new one.

    Raises SmaltiError in one line if the system refuses.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    checked = {"description": description, "sha256": _digest(plain, description)}
    data = save_tensors(plain, {METADATA_KEY: json.dumps(checked, sort_keys=True)})
    with atomic_file(path, overwrite=True) as file, writing(path):
        file.write(data)


def read_tensors(path: Path, what: str, advice: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the description in a file that `write_tensors` wrote, checked by its SHA-256.

    what, advice : in errors, what the file should be and what to do if it is not; all of them are ModelError
    """
    try:
        data = path.read_bytes()
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        checked = json.loads(metadata[METADATA_KEY])
        if "format" in checked:  # version 1 had the description itself here, and no checksum
            raise ModelError(f"{path} is a {what} of an older release; {advice}")
        description, tensors = dict(checked["description"]), load_tensors(data)
    except FileNotFoundError as error:
        raise ModelError(f"there is no {what} {path}; check the path, or {advice}") from error
    except OSError as error:
        raise ModelError(f"cannot read the {what} {path}: {error.strerror}; check the path") from error
    except ModelError:
        raise
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is not a smalti {what}, or it is damaged; {advice}") from error
    if checked["sha256"] != _digest(tensors, description):
        raise ModelError(f"{path}: this {what} is damaged: its SHA-256 is another than when it was written; {advice}")
    return tensors, description


def stored_format(path: Path) -> str | None:
    """Return what a file says it is, or None if it says nothing; `read_tensors` tells what is wrong with it."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        found = json.loads(metadata[METADATA_KEY])["description"]["format"]
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError):
        return None
    return found if isinstance(found, str) else None


def _digest(tensors: dict[str, Tensor], description: dict[str, Any]) -> str:
    """Return the SHA-256 of the description and of all tensors: their names, types, shapes and bytes."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name].numpy())
        digest.update(f"\n{name} {values.dtype.str} {list(values.shape)}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
