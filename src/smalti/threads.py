"""How many threads work takes if nobody says.

Layer: beside `errors`, the lowest.
"""

import os

__all__ = ["default_threads", "threads_of_rank"]


def default_threads(asked: int | None = None) -> int:
    """Return the threads to use: those asked for, else the cores this process may run on."""
    if asked is not None:
        return asked
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of_rank(asked: int | None = None) -> int:
    """Return the threads of this process: those asked for, else its share of the cores, if torchrun started several."""
    if asked is not None:
        return asked
    return max(1, default_threads() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
