"""Tensors and settings in one safetensors file: numbers and JSON, never pickle."""

import json
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from smalti.errors import ModelError
from smalti.files import atomic_file, writing

__all__ = ["read_tensors", "write_tensors"]

METADATA_KEY = "smalti"
"""The one metadata key: with a single key the file's bytes do not depend on a hash map's order."""


def write_tensors(path: Path, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
    """Write tensors and a JSON description to `path` at once: a kill leaves the old file or the new one.

    Raises SmaltiError in one line if the system refuses.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = save_tensors(plain, {METADATA_KEY: json.dumps(description, sort_keys=True)})
    with atomic_file(path, overwrite=True) as file, writing(path):
        file.write(data)


def read_tensors(path: Path, what: str, advice: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the description in a file that `write_tensors` wrote.

    what, advice : in errors, what the file should be and what to do if it is not; all of them are ModelError
    """
    try:
        data = path.read_bytes()
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        description = dict(json.loads(metadata[METADATA_KEY]))
        return load_tensors(data), description
    except FileNotFoundError as error:
        raise ModelError(f"there is no {what} {path}; check the path, or {advice}") from error
    except OSError as error:
        raise ModelError(f"cannot read the {what} {path}: {error.strerror}; check the path") from error
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is not a smalti {what}, or it is damaged; {advice}") from error
