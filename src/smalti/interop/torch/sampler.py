"""A sampler for archives: random enough for training, near enough in the file to be read fast; it can be stopped.

Which image comes when is in `order`; here are ranks and the state of a pass.

The order of images in an epoch: blocks shuffled, and images shuffled within a window of some blocks.

It depends on the seed, the epoch and the blocks alone. PyTorch and NumPy promise no shuffle that stays the same from
release to release, but NumPy promises the raw numbers of PCG64 (O'Neill 2014): images are sorted by such numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch.distributed
from numpy.typing import NDArray
from torch.utils.data import Sampler

from smalti.errors import UsageError

__all__ = ["BlockOrder", "BlockShuffleSampler"]


class BlockOrder:
    """All images of one epoch, each once; what is not asked for is not drawn, so that any place is found at once.

    bounds : int64 [blocks + 1], where blocks begin, and N
    window_blocks : blocks of a window; images of different windows do not mix
    """

    def __init__(self, bounds: NDArray[np.int64], window_blocks: int, seed: int, epoch: int) -> None:
        self._bounds, self._window_blocks = bounds, window_blocks
        self._seed, self._epoch = seed, epoch
        self._blocks = self._shuffled(len(bounds) - 1, 0)
        sizes = np.diff(bounds)[self._blocks]
        ends = np.append(0, np.cumsum(sizes))
        self._starts = np.append(ends[:-1:window_blocks], ends[-1])  # of windows, and N

    def __len__(self) -> int:
        return int(self._bounds[-1])

    def from_place(self, place: int) -> Iterator[int]:
        """Image numbers from a place of the order on, 0 to N, to its end."""
        first = int(np.searchsorted(self._starts, place, side="right")) - 1
        for window in range(first, len(self._starts) - 1):
            yield from self._window(window)[max(place - int(self._starts[window]), 0) :].tolist()

    def _window(self, number: int) -> NDArray[np.int64]:
        blocks = self._blocks[number * self._window_blocks : (number + 1) * self._window_blocks]
        images = np.concatenate([np.arange(self._bounds[block], self._bounds[block + 1]) for block in blocks])
        return images[self._shuffled(len(images), number + 1)]

    def _shuffled(self, count: int, purpose: int) -> NDArray[np.intp]:
        generator = np.random.PCG64(np.random.SeedSequence([self._seed, self._epoch, purpose]))
        return np.argsort(generator.random_raw(count), kind="stable")


# was sibling import


DEFAULT_WINDOW_BLOCKS = 16


class Blocks(Protocol):
    """Images in blocks that are decoded together: an ArchiveDataset or an archive."""

    @property
    def block_bounds(self) -> NDArray[np.int64]:
        """Where blocks begin, and N: int64 [blocks + 1]."""


@dataclass
class _Pass:
    """One pass over the images of a rank: where it began, and how many it has yielded."""

    start: int
    yielded: int = 0


class BlockShuffleSampler(Sampler[int]):
    """Image numbers in a shuffled order that reads few blocks at a time, the same on every machine.

    data : an ArchiveDataset or an archive
    seed : 0 or more; with the epoch, it decides the order
    window_blocks : blocks are shuffled, and then images within windows of so many blocks. More mix better, and need
        their tokens in memory, in each process that decodes
    rank, world_size : of data-parallel training; None takes those of torch.distributed, or 0 and 1 without it. Ranks
        get stretches of one order, of equal length: all the images together, each once, but for what `drop_last` says
    drop_last : if images are no multiple of ranks, True leaves out the last ones of the order, which differ from epoch
        to epoch; False repeats the first ones
    epoch : see `set_epoch`

    A pass that was stopped goes on where it was: `state_dict` and `load_state_dict`.

    >>> for epoch in range(epochs):
    ...     sampler.set_epoch(epoch)
    ...     for images, labels in loader:
    ...         ...

    Raises UsageError for arguments that cannot be.
    """

    def __init__(
        self,
        data: Blocks,
        seed: int = 0,
        *,
        window_blocks: int = DEFAULT_WINDOW_BLOCKS,
        rank: int | None = None,
        world_size: int | None = None,
        drop_last: bool = False,
    ) -> None:
        self.rank, self.world_size = _ranks(rank, world_size)
        if seed < 0 or window_blocks < 1 or not 0 <= self.rank < self.world_size:
            raise UsageError(
                f"seed {seed}, windows of {window_blocks} blocks, rank {self.rank} of {self.world_size} cannot be"
            )
        self._bounds = data.block_bounds
        self._seed, self._window_blocks, self._drop_last = seed, window_blocks, drop_last
        self._epoch, self._resume_at, self._pass = 0, 0, _Pass(0)

    def __len__(self) -> int:
        """Images of a whole pass of this rank, wherever the next one begins."""
        images = int(self._bounds[-1])
        return images // self.world_size if self._drop_last else -(-images // self.world_size)

    def __iter__(self) -> Iterator[int]:
        """Image numbers of a pass: a whole one, unless a state was loaded since the last."""
        self._pass, self._resume_at = _Pass(self._resume_at), 0
        order = BlockOrder(self._bounds, self._window_blocks, self._seed, self._epoch)
        return self._numbers(self._pass, order)

    @property
    def epoch(self) -> int:
        """The epoch of the next pass."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the passes that follow; a new epoch begins at its beginning, whatever was loaded."""
        if epoch < 0:
            raise UsageError(f"epoch {epoch}; epochs are 0 or more")
        if epoch != self._epoch:
            self._epoch, self._resume_at, self._pass = epoch, 0, _Pass(0)

    def state_dict(self, consumed: int | None = None) -> dict[str, Any]:
        """Where the pass is, as plain numbers; `load_state_dict` makes the next pass go on from there.

        consumed : images of this pass that the training loop is done with, counted from where the pass began (or was
            resumed). A DataLoader with workers asks for images ahead of the loop, and only the loop knows what it has
            had. None stands for all that were asked for, which is right without workers

        With several ranks, each is as far as the others if they took as many steps: the state of one serves all.
        Raises UsageError if so many were not asked for.
        """
        done = self._pass.yielded if consumed is None else consumed
        if not 0 <= done <= self._pass.yielded:
            raise UsageError(f"{done} images consumed of {self._pass.yielded} that this pass has given")
        return self._order() | {"epoch": self._epoch, "position": self._pass.start + done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take epoch and position from a state of the same order; UsageError if it is of another."""
        order = self._order()
        if set(state) != {*order, "epoch", "position"}:
            raise UsageError(f"a sampler's state has {', '.join(order)}, epoch and position, not {', '.join(state)}")
        for name, value in order.items():
            if state[name] != value:
                raise UsageError(f"the state is of {name} {state[name]}, this sampler's is {value}")
        if not (state["epoch"] >= 0 and 0 <= state["position"] <= len(self)):
            raise UsageError(f"epoch {state['epoch']}, position {state['position']} of {len(self)} cannot be")
        self._epoch, self._resume_at = state["epoch"], state["position"]
        self._pass = _Pass(self._resume_at)

    def _order(self) -> dict[str, Any]:
        """What decides the order, and the part of a rank."""
        return {
            "images": int(self._bounds[-1]),
            "blocks": len(self._bounds) - 1,
            "seed": self._seed,
            "window_blocks": self._window_blocks,
            "world_size": self.world_size,
            "drop_last": self._drop_last,
        }

    def _numbers(self, now: _Pass, order: BlockOrder) -> Iterator[int]:
        left = len(self) - now.start
        place = self.rank * len(self) + now.start
        while left > 0:  # again from the beginning, where images are repeated to fill the last ranks
            for number in islice(order.from_place(place % len(order)), left):
                now.yielded += 1
                left -= 1
                yield number
            place = 0


def _ranks(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if (rank is None) != (world_size is None):
        raise UsageError("give rank and world_size, or neither of them")
    if rank is not None and world_size is not None:
        return rank, world_size
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
