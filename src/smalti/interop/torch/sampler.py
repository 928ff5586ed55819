"""A sampler for archives: random enough for training, and local enough in the file to be read fast. It can be resumed.

In each epoch `BlockOrder` shuffles blocks, and then images within windows of several blocks. The order depends only on
the seed, the epoch and the blocks. PyTorch and NumPy do not promise that a shuffle stays the same from release to
release, but NumPy promises the raw numbers of PCG64 (O'Neill 2014): images are sorted by such numbers. The sampler
adds ranks and the state of a pass.
"""

from collections.abc import Callable, Iterator
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
    """The order of all images of one epoch, each once. Windows are shuffled on request: any position is found at once.

    bounds : int64 [blocks + 1], the first image of each block, and N
    window_blocks : blocks in a window; images of different windows do not mix
    """

    def __init__(self, bounds: NDArray[np.int64], window_blocks: int, seed: int, epoch: int) -> None:
        self._bounds, self._window_blocks = bounds, window_blocks
        self._seed, self._epoch = seed, epoch
        self._blocks = self._shuffled(len(bounds) - 1, 0)
        sizes = np.diff(bounds)[self._blocks]
        ends = np.append(0, np.cumsum(sizes))
        self._starts = np.append(ends[:-1:window_blocks], ends[-1])  # first positions of windows, and N

    def __len__(self) -> int:
        return int(self._bounds[-1])

    def from_position(self, position: int, expect: Callable[[list[int]], None] | None = None) -> Iterator[int]:
        """Yield image numbers from a position of the order (0 to N) to its end.

        expect : called before each window, with its blocks and those of the window after it
        """
        first = int(np.searchsorted(self._starts, position, side="right")) - 1
        for window in range(first, len(self._starts) - 1):
            if expect is not None:
                expect(self._blocks[window * self._window_blocks : (window + 2) * self._window_blocks].tolist())
            yield from self._window(window)[max(position - int(self._starts[window]), 0) :].tolist()

    def _window(self, number: int) -> NDArray[np.int64]:
        blocks = self._blocks[number * self._window_blocks : (number + 1) * self._window_blocks]
        images = np.concatenate([np.arange(self._bounds[block], self._bounds[block + 1]) for block in blocks])
        return images[self._shuffled(len(images), number + 1)]

    def _shuffled(self, count: int, purpose: int) -> NDArray[np.intp]:
        generator = np.random.PCG64(np.random.SeedSequence([self._seed, self._epoch, purpose]))
        return np.argsort(generator.random_raw(count), kind="stable")


DEFAULT_WINDOW_BLOCKS = 16


class Blocks(Protocol):
    """Images in blocks that are decoded together, such as an ArchiveDataset or an archive."""

    @property
    def block_bounds(self) -> NDArray[np.int64]:
        """The first image of each block, and N: int64 [blocks + 1]."""


@dataclass
class _Pass:
    """One pass over the images of a rank. start : its first position    yielded : images so far"""

    start: int
    yielded: int = 0


class BlockShuffleSampler(Sampler[int]):
    """Image numbers in a shuffled order that reads few blocks at a time, the same on every machine.

    data : an ArchiveDataset or an archive. A dataset is told which blocks come next, and decodes them ahead
    seed : 0 or more; seed and epoch determine the order
    window_blocks : blocks are shuffled, and then images within windows of this many blocks. Larger windows mix better;
        decoded blocks of two windows take memory, as far as `cache_bytes` of the dataset allows
    rank, world_size : of data-parallel training; None takes those of torch.distributed, or 0 and 1 without it. Each
        rank gets a part of one order, all of equal length. Together they get each image once, except for `drop_last`
    drop_last : if the number of images is no multiple of the ranks, True skips the last images of the order, which
        differ from epoch to epoch; False repeats the first ones
    epoch : see `set_epoch`

    `state_dict` and `load_state_dict` resume a pass that was stopped.

    >>> for epoch in range(epochs):
    ...     sampler.set_epoch(epoch)
    ...     for images, labels in loader:
    ...         ...

    Raises UsageError for impossible arguments.
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
        self._expect: Callable[[list[int]], None] | None = getattr(data, "expect", None)
        self._seed, self._window_blocks, self._drop_last = seed, window_blocks, drop_last
        self._epoch, self._resume_at, self._pass = 0, 0, _Pass(0)

    def __len__(self) -> int:
        """The number of images of a whole pass of this rank, even if the next pass resumes one."""
        images = int(self._bounds[-1])
        return images // self.world_size if self._drop_last else -(-images // self.world_size)

    def __iter__(self) -> Iterator[int]:
        """Yield the image numbers of a pass: of a whole one, or of the rest of one after `load_state_dict`."""
        self._pass, self._resume_at = _Pass(self._resume_at), 0
        order = BlockOrder(self._bounds, self._window_blocks, self._seed, self._epoch)
        return self._numbers(self._pass, order)

    @property
    def epoch(self) -> int:
        """The epoch of the next pass."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, and so the order, of the next passes. A new epoch starts from its beginning."""
        if epoch < 0:
            raise UsageError(f"epoch {epoch}; epochs are 0 or more")
        if epoch != self._epoch:
            self._epoch, self._resume_at, self._pass = epoch, 0, _Pass(0)

    def state_dict(self, consumed: int | None = None) -> dict[str, Any]:
        """The position of the pass, as plain numbers. After `load_state_dict` the next pass resumes there.

        consumed : images of this pass that the training loop has used, counted from where the pass began (or was
            resumed). A DataLoader with workers requests images ahead of the loop, and only the loop knows how many
            it has used. None means all that were requested, which is right without workers

        All ranks are at the same position after the same number of steps: the state of one serves all. Raises
        UsageError if fewer images were requested.
        """
        done = self._pass.yielded if consumed is None else consumed
        if not 0 <= done <= self._pass.yielded:
            raise UsageError(f"{done} images consumed of {self._pass.yielded} that this pass has given")
        return self._order() | {"epoch": self._epoch, "position": self._pass.start + done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take epoch and position from a state of the same order; UsageError for a state of another order."""
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
        """All that determines the order, and the part of a rank."""
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
        position = self.rank * len(self) + now.start
        while left > 0:  # start again where the first images fill the last ranks
            for number in islice(order.from_position(position % len(order), self._expect), left):
                now.yielded += 1
                left -= 1
                yield number
            position = 0


def _ranks(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if (rank is None) != (world_size is None):
        raise UsageError("give rank and world_size, or neither of them")
    if rank is not None and world_size is not None:
        return rank, world_size
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
