"""How the learning rate runs through a stage."""

import math

__all__ = ["learning_rate"]

WARM_UP_STEPS = 300
LAST_SHARE = 0.003


def learning_rate(highest: float, step: int, steps: int) -> float:
    """Return a rate that rises for some steps and then falls along half a cosine (Loshchilov & Hutter 2017)."""
    warm_up = min(WARM_UP_STEPS, steps // 10)
    if step < warm_up:
        return highest * (step + 1) / warm_up
    share = min(1.0, (step - warm_up) / max(1, steps - warm_up))
    return highest * (0.5 * (1 + math.cos(math.pi * share)) + LAST_SHARE)
