"""The state of packing between two stages, a ZIP file: the tokens, which may be many, and all else."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smalti.errors import ModelError
from smalti.storage.atomic import atomic_file, writing
from smalti.training.common.tensors import State, packed_tensors, unpacked_tensors
from smalti.training.pyramid.chosen_tokens import TokenRows

__all__ = ["read_packing_state", "read_packing_tokens", "write_packing_state"]

_TOKENS, _REST = "tokens", "rest.safetensors"
_ADVICE = "remove it to start anew"


def write_packing_state(path: Path, tokens: TokenRows, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
    """Write a state in one step: a kill leaves the old file or the new one. OutputError if the system refuses."""
    with atomic_file(path, overwrite=True) as file, writing(path), zipfile.ZipFile(file, "w") as archive:
        with archive.open(_TOKENS, "w", force_zip64=True) as entry:
            for part in tokens.parts():
                entry.write(torch.cat(tokens.of(part), 1).numpy().astype("<i2").tobytes())
        archive.writestr(_REST, packed_tensors(tensors, description))


def read_packing_state(path: Path) -> State:
    """Read a state without its tokens; ModelError for every fault."""
    with _opened(path) as archive:
        rest = archive.read(_REST)
    return unpacked_tensors(rest, path, "state of packing", _ADVICE)


def read_packing_tokens(path: Path, tokens: TokenRows) -> None:
    """Read the tokens of a state into `tokens`; ModelError for every fault."""
    row = sum(tokens.positions)
    with _opened(path) as archive, archive.open(_TOKENS) as entry:
        for part in tokens.parts():
            count = part.stop - part.start
            found = np.frombuffer(entry.read(2 * row * count), "<i2").reshape(count, row).astype(np.int16)
            tokens.put(part.start, list(torch.split(torch.from_numpy(found), list(tokens.positions), 1)))
        if entry.read(1):
            raise ValueError("more tokens than images")


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except OSError as error:
        raise ModelError(f"cannot read the state of packing {path}: {error.strerror}; check the path") from error
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{path} is no state of packing, or it is damaged; {_ADVICE}") from error
