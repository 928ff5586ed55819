"""The state of a learner as tensors and plain numbers, so that a fit can end and go on as if it had not."""

from typing import Any

import torch
from torch import Tensor, nn

from smalti.training.pyramid.learner import Learner

__all__ = ["learner_state", "restore_learner"]


def learner_state(learner: Learner) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors by name, and what they do not tell."""
    tensors = {f"encoder.{name}": value for name, value in learner.encoder.state_dict().items()}
    tensors |= {f"pyramid.{name}": value for name, value in learner.pyramid.state_dict().items()}
    for number, state in learner.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{name}": value for name, value in state.items()}
    for level, total in enumerate(learner.totals):
        tensors[f"counts.{level}"], tensors[f"sums.{level}"] = learner.counts[level], learner.sums[level]
        tensors[f"used.{level}"], tensors[f"spared.{level}"] = total.count, total.spared
        tensors[f"distortion.{level}"] = total.distortion
    for scale, weight in enumerate(learner.weights):
        tensors[f"weight.{scale}"] = weight
    numbers = {
        "done": learner.done,
        "copies": learner.copies,
        "trade_off": learner.trade_off.state(),
        "whole": learner.pyramid.whole,
        "codes": [len(codes) for codes in learner.pyramid.codes],
        "highest": [group["highest"] for group in learner.optimizer.param_groups],
        "totalled": [total.images for total in learner.totals],
    }
    return tensors, numbers


def restore_learner(learner: Learner, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    """Put a state into a learner made with the same settings. KeyError or RuntimeError if it is of another."""
    pyramid = learner.pyramid
    for level, codes in enumerate(numbers["codes"]):
        pyramid.codes[level] = nn.Parameter(torch.zeros(codes, pyramid.forms[level].channels))
        pyramid.prior(level).select(torch.zeros(codes, dtype=torch.int64), torch.zeros(codes))
    if numbers["whole"]:
        pyramid.set_whole()
    learner.encoder.load_state_dict(_part(tensors, "encoder."))
    pyramid.load_state_dict(_part(tensors, "pyramid."))
    learner.done = int(numbers["done"])
    learner.copies = bool(numbers.get("copies", False))  # absent from files of releases before this
    learner.trade_off.restore(numbers["trade_off"])
    learner.weights = [tensors[f"weight.{scale}"] for scale in range(pyramid.scales)]
    learner.renew_optimizer()
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(tensors, "adam.").items():
        number, key = name.split(".")
        states.setdefault(int(number), {})[key] = value
    groups = learner.optimizer.state_dict()["param_groups"]
    learner.optimizer.load_state_dict({"state": states, "param_groups": groups})
    for parameter, state in learner.optimizer.state.items():  # moments lie in memory as their parameter does
        for key, value in state.items():
            if value.shape == parameter.shape:
                state[key] = torch.empty_like(parameter).copy_(value)
    for group, highest in zip(learner.optimizer.param_groups, numbers["highest"], strict=True):
        group["highest"] = float(highest)
    for level, total in enumerate(learner.totals):
        learner.counts[level], learner.sums[level] = tensors[f"counts.{level}"], tensors[f"sums.{level}"]
        total.count, total.spared = tensors[f"used.{level}"], tensors[f"spared.{level}"]
        total.distortion, total.images = tensors[f"distortion.{level}"], int(numbers["totalled"][level])


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
