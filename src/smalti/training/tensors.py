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
    """Write tensors and a JSON description to `path`, whole or not at all; OutputError if the system refuses."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = save_tensors(plain, {METADATA_KEY: json.dumps(description, sort_keys=True)})
    with atomic_file(path, overwrite=True) as file, writing(path):
        file.write(data)


def read_tensors(path: Path, what: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the description in a file that `write_tensors` wrote; `what` names it in errors."""
    try:
        data = path.read_bytes()
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        description = json.loads(metadata[METADATA_KEY])
        return load_tensors(data), description
    except FileNotFoundError as error:
        raise ModelError(f"there is no {what} {path}; check the path, or make one with smalti fit") from error
    except OSError as error:
        raise ModelError(f"cannot read the {what} {path}: {error.strerror}") from error
    except (safetensors.SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} is not a smalti {what}, or it is damaged; make it again with smalti fit") from error
