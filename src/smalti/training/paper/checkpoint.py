"""The state of a fit between two steps, in a file: resuming from it gives what no interruption would have given.

Nothing random is stored: every draw's generator is seeded by the fit's seed and the step or epoch it serves.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from smalti.errors import ModelError
from smalti.training.common.distributed import State
from smalti.training.common.tensors import read_tensors, write_tensors
from smalti.training.paper.settings import FitSettings
from smalti.training.paper.vqvae import VQVAE

__all__ = ["Progress", "load_checkpoint", "read_checkpoint", "save_checkpoint"]

CHECKPOINT_FORMAT = "smalti-checkpoint"
NETWORK_PREFIX = "network."
ADAM_PREFIX = "adam."


@dataclass
class Progress:
    """How far a fit is.

    epoch, step : the next step to do is number `step` of epoch `epoch`, both from 0
    sums : running sums of the loss parts over this epoch's steps
    seconds : spent on this epoch so far
    history : reports of the epochs that have ended
    """

    epoch: int = 0
    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


def save_checkpoint(
    path: Path,
    network: VQVAE,
    optimizer: torch.optim.Adam,
    settings: FitSettings,
    fingerprint: str,
    progress: Progress,
) -> None:
    """Write the whole state of a fit to `path`, at once."""
    tensors = {NETWORK_PREFIX + name: value for name, value in network.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"{ADAM_PREFIX}{index}.{name}": value for name, value in state.items()}
    description = {
        "format": CHECKPOINT_FORMAT,
        "settings": settings.to_json(),
        "fingerprint": fingerprint,
        "progress": asdict(progress),
    }
    write_tensors(path, tensors, description)


def read_checkpoint(path: Path) -> State:
    """Return what a checkpoint holds; ModelError if it cannot be read."""
    return read_tensors(path, "checkpoint", "remove it to start anew")


def load_checkpoint(
    path: Path,
    stored: State,
    network: VQVAE,
    optimizer: torch.optim.Adam,
    settings: FitSettings,
    fingerprint: str,
) -> Progress:
    """Put the state that was read from `path` into network and optimiser and return how far the fit was.

    ModelError if the checkpoint is of other settings or other images: it would not give the result asked for.
    """
    tensors, description = stored
    if description.get("format") != CHECKPOINT_FORMAT:
        raise ModelError(f"{path} is no checkpoint of a fit; remove it to start anew")
    try:
        _check_same(path, description, settings, fingerprint)
        _put(tensors, network, optimizer)
        return Progress(**description["progress"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise ModelError(f"{path} is damaged, or of another release; remove it to start anew") from error


def _check_same(path: Path, description: dict[str, Any], settings: FitSettings, fingerprint: str) -> None:
    """Raise ModelError unless the checkpoint is of a fit with these settings on these images."""
    stored = FitSettings.from_json(description["settings"])
    if stored != settings:
        raise ModelError(
            f"{path} is of a fit with other settings ({_differences(stored, settings)}); "
            "give the same ones, or remove it to start anew"
        )
    if description["fingerprint"] != fingerprint:
        raise ModelError(f"{path} is of a fit on other images; give the same source, or remove it to start anew")


def _put(tensors: dict[str, torch.Tensor], network: VQVAE, optimizer: torch.optim.Adam) -> None:
    """Put stored tensors into network and optimiser."""
    network.load_state_dict(
        {name.removeprefix(NETWORK_PREFIX): value for name, value in tensors.items() if name.startswith(NETWORK_PREFIX)}
    )
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(ADAM_PREFIX):
            index, name = key.removeprefix(ADAM_PREFIX).split(".")
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _differences(stored: FitSettings, asked: FitSettings) -> str:
    flat_stored, flat_asked = ({**s.to_json(), **s.to_json()["quantizer"]} for s in (stored, asked))
    return ", ".join(
        f"{name.replace('_', ' ')} {flat_stored[name]}, not {flat_asked[name]}"
        for name in flat_stored
        if name != "quantizer" and flat_stored[name] != flat_asked[name]
    )
