"""The checkpoint file of a fit: a resumed fit gives the same result as one without interruption.

No random state is stored: each generator is seeded by the fit's seed and by the step or epoch of its draw.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from smalti.errors import ModelError
from smalti.training.common.tensors import (
    State,
    adam_states,
    adam_tensors,
    with_prefix,
    without_prefix,
    write_tensors,
)
from smalti.training.paper.settings import FitSettings
from smalti.training.paper.vqvae import VQVAE

__all__ = ["FitProgress", "load_checkpoint", "save_checkpoint"]

CHECKPOINT_FORMAT = "smalti-checkpoint"
NETWORK_PREFIX = "network."


@dataclass
class FitProgress:
    """How far a fit is.

    epoch, step : the next step is number `step` of epoch `epoch`, both from 0
    sums : running sums of the loss parts over this epoch's steps
    seconds : time spent on this epoch so far
    history : reports of the finished epochs
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
    progress: FitProgress,
) -> None:
    """Write the whole state of a fit to `path`, in one step."""
    tensors = with_prefix(NETWORK_PREFIX, network.state_dict()) | adam_tensors(optimizer)
    description = {
        "format": CHECKPOINT_FORMAT,
        "settings": settings.to_json(),
        "fingerprint": fingerprint,
        "progress": asdict(progress),
    }
    write_tensors(path, tensors, description)


def load_checkpoint(
    path: Path,
    stored: State,
    network: VQVAE,
    optimizer: torch.optim.Adam,
    settings: FitSettings,
    fingerprint: str,
) -> FitProgress:
    """Put the state that was read from `path` into network and optimiser; return the progress of the fit.

    Raises ModelError if the checkpoint has other settings or other images, which would give another result.
    """
    tensors, description = stored
    if description.get("format") != CHECKPOINT_FORMAT:
        raise ModelError(f"{path} is no checkpoint of a fit; remove it to start anew")
    try:
        _check_same(path, description, settings, fingerprint)
        network.load_state_dict(without_prefix(NETWORK_PREFIX, tensors))
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": adam_states(tensors), "param_groups": groups})
        return FitProgress(**description["progress"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise ModelError(f"{path} is damaged, or of another release; remove it to start anew") from error


def _check_same(path: Path, description: dict[str, Any], settings: FitSettings, fingerprint: str) -> None:
    """Raise ModelError unless the checkpoint comes from a fit with these settings on these images."""
    stored = FitSettings.from_json(description["settings"])
    if stored != settings:
        raise ModelError(
            f"{path} is of a fit with other settings ({_differences(stored, settings)}); "
            "give the same ones, or remove it to start anew"
        )
    if description["fingerprint"] != fingerprint:
        raise ModelError(f"{path} is of a fit on other images; give the same source, or remove it to start anew")


def _differences(stored: FitSettings, given: FitSettings) -> str:
    flat_stored, flat_given = ({**s.to_json(), **s.to_json()["quantizer"]} for s in (stored, given))
    return ", ".join(
        f"{name.replace('_', ' ')} {flat_stored[name]}, not {flat_given[name]}"
        for name in flat_stored
        if name != "quantizer" and flat_stored[name] != flat_given[name]
    )
