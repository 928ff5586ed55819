"""Decoded blocks in memory, for one process and all the worker processes that it starts.

A batch of a shuffled order needs images of many blocks, and the next batch needs the same blocks. So a block is decoded
whole, once, by whichever process comes first, and its pixels stay where all processes can copy images from.
`SharedMemory` is that place. `DecodedBlocks` says what is in it: a table at its beginning, and slots of one block each.

Two kinds of lock keep processes apart. The table's is held for microseconds, and while a block is copied in. A block's
is held by the process that decodes it; nobody waits for it, but looks again. The system releases the locks of a process
that dies.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from smalti.errors import SmaltiError
from smalti.images.batch import Pixels
from smalti.interop.torch.shared_memory import SharedMemory

__all__ = ["DecodedBlocks"]

Decode = Callable[[NDArray[np.int64]], Pixels]

_TABLE = 0  # the number of the table's lock; that of block b is 1 + b
_ABSENT = -1
_LOOK_AGAIN_SECONDS = 0.001


class DecodedBlocks:
    """The pixels of the blocks used last. Safe to use from several threads and processes.

    bounds : int64 [blocks + 1], the first image of each block, and N
    image_shape, dtype : of every image
    most_bytes : of memory, which is taken as blocks are written to it
    memory : None, or that of another process's DecodedBlocks

    Raises SmaltiError if the system gives no memory.

    Pickled for a process that is being started, it is the same memory there; pickled otherwise, it is empty.
    """

    def __init__(
        self,
        bounds: NDArray[np.int64],
        image_shape: tuple[int, ...],
        dtype: np.dtype[np.generic],
        most_bytes: int,
        memory: SharedMemory | None = None,
    ) -> None:
        self._arguments = bounds, image_shape, dtype, most_bytes
        self._bounds = bounds
        blocks, largest, values = len(bounds) - 1, int(np.diff(bounds).max(initial=1)), math.prod(image_shape)
        slots = min(blocks, most_bytes // (largest * values * dtype.itemsize))
        *parts, table_values = np.cumsum([1, blocks, blocks, slots, slots]).tolist()
        self._memory = memory or _memory(8 * table_values + slots * largest * values * dtype.itemsize)
        table = np.frombuffer(self._memory.buffer, np.int64, table_values)
        # clock: counts uses    by block, slot_of: its slot or _ABSENT; turn: 0, or its place in the order to come
        # by slot, block_in: its block or _ABSENT; used: the clock at its last use
        self._clock, self._slot_of, self._turn, self._block_in, self._used = np.split(table, parts)
        images = np.frombuffer(self._memory.buffer, dtype, slots * largest * values, 8 * table_values)
        self._images = images.reshape(slots, largest, *image_shape)
        if memory is None:
            self._slot_of[:] = self._block_in[:] = _ABSENT
        self._threads_lock = threading.RLock()
        self._decoding: set[int] = set()  # by threads of this process, which the locks of processes do not keep apart
        self._one_decodes = _OneAtATime()
        self._ahead: threading.Thread | None = None
        self._stopped = False

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle."""
        return DecodedBlocks, (*self._arguments, self._memory)

    def forked(self) -> "DecodedBlocks":
        """The same in a forked process, without the locks and the thread of the process that it was forked from."""
        return DecodedBlocks(*self._arguments, self._memory if self._memory.is_shared else None)

    @property
    def slots(self) -> int:
        """How many blocks fit."""
        return len(self._block_in)

    @property
    def hold_all(self) -> bool:
        """Whether all blocks fit."""
        return self.slots == len(self._bounds) - 1

    def expect(self, blocks: Sequence[int]) -> None:
        """Announce the blocks that will be needed next, in their order, instead of those announced before."""
        with self._table():
            self._turn[:] = 0
            self._turn[list(blocks)] = np.arange(1, len(blocks) + 1)

    def serve(self, numbers: NDArray[np.int64]) -> bool:
        """Whether images should be read through here: their blocks are here, announced, or all blocks fit."""
        if self.hold_all:
            return True
        blocks = self._blocks_of(numbers)
        with self._table():
            return bool(((self._slot_of[blocks] >= 0) | (self._turn[blocks] > 0)).all())

    def read(self, numbers: NDArray[np.int64], decode: Decode, most: int) -> Pixels:
        """Images by number: [n, *image_shape]. Blocks that are not here are decoded, or waited for.

        decode : gives the pixels of images, whose numbers int64 [n] are ascending; its errors are raised
        most : blocks that are decoded at once
        """
        out = np.empty((len(numbers), *self._images.shape[2:]), self._images.dtype)
        left = self._copy(numbers, np.arange(len(numbers)), out)
        while len(left):
            with self._one_decodes.first():
                left = self._copy(numbers, left, out)
                blocks = self._blocks_of(numbers[left])
                with self._claimed(np.unique(blocks), most) as claimed:
                    if claimed:
                        images, pixels = self._decode(claimed, decode)
                        own = left[np.isin(blocks, claimed)]
                        out[own] = pixels[np.searchsorted(images, numbers[own])]
                        left = left[~np.isin(blocks, claimed)]
            if not claimed:
                time.sleep(_LOOK_AGAIN_SECONDS)
            left = self._copy(numbers, left, out)
        return out

    def decode_ahead(self, decode: Decode, most: int) -> None:
        """Decode announced blocks in a thread, up to `most` at once, as long as there is room for them."""
        with self._threads_lock:
            if self._stopped or (self._ahead is not None and self._ahead.is_alive()):
                return
            if len(self._announced()):
                self._ahead = threading.Thread(target=self._decode_announced, args=(decode, most), name="smalti ahead")
                self._ahead.start()

    def stop(self) -> None:
        """Let the thread that decodes ahead end, and wait for it. `decode_ahead` starts another one."""
        with self._threads_lock:
            self._stopped, ahead = True, self._ahead
        if ahead is not None:
            ahead.join()
        self._stopped = False

    def _decode_announced(self, decode: Decode, most: int) -> None:
        while not self._stopped and threading.main_thread().is_alive():  # it is not once the interpreter ends
            with self._one_decodes.last(), self._claimed(self._announced(), most) as claimed:
                if not claimed:
                    return
                try:
                    self._decode(claimed, decode)
                except Exception:  # noqa: BLE001 (who reads the block gets the error)
                    with self._table():
                        self._turn[claimed] = 0

    def _announced(self) -> NDArray[np.intp]:
        """The announced blocks that are not here and for which there is room, in the order of use."""
        with self._table(to_write=False):
            wanted = np.flatnonzero((self._turn > 0) & (self._slot_of < 0))
            wanted = wanted[np.argsort(self._turn[wanted])]
            held = np.where(self._block_in < 0, 0, self._turn[self._block_in])  # 0: free, or not announced
            later = np.iinfo(np.int64).max
            room = np.sort(np.where(held == 0, later, held))[::-1][: len(wanted)]
            return wanted[: len(room)][self._turn[wanted[: len(room)]] < room]

    def _blocks_of(self, numbers: NDArray[np.int64]) -> NDArray[np.intp]:
        return np.searchsorted(self._bounds, numbers, side="right") - 1

    def _copy(self, numbers: NDArray[np.int64], rows: NDArray[np.intp], out: Pixels) -> NDArray[np.intp]:
        """Copy those images that are here to their rows of `out`. Returns the other rows."""
        if not len(rows):
            return rows
        blocks = self._blocks_of(numbers[rows])
        within = numbers[rows] - self._bounds[blocks]
        with self._table(to_write=False):
            slots = self._slot_of[blocks]
            here = slots >= 0
            self._clock += 1  # readers of two processes may lose one count, which the order of use can bear
            self._used[slots[here]] = self._clock[0]
            if here.all() and len(rows) == len(out):
                np.take(self._flat, slots * self._images.shape[1] + within, 0, out, mode="clip")
            else:
                out[rows[here]] = self._images[slots[here], within[here]]
        return rows[~here]

    @property
    def _flat(self) -> Pixels:
        return self._images.reshape(-1, *self._images.shape[2:])

    def _decode(self, blocks: list[int], decode: Decode) -> tuple[NDArray[np.int64], Pixels]:
        """Decode claimed blocks and keep them. Returns the numbers of their images, ascending, and the pixels."""
        ranges = [np.arange(self._bounds[block], self._bounds[block + 1]) for block in sorted(blocks)]
        numbers = np.concatenate(ranges)
        pixels = decode(numbers)
        starts = np.cumsum([0, *map(len, ranges)])
        for block, start, stop in zip(sorted(blocks), starts[:-1], starts[1:], strict=True):
            with self._table():
                self._keep(block, pixels[start:stop])
        return numbers, pixels

    def _keep(self, block: int, pixels: Pixels) -> None:
        """Copy a block to a slot, if one is free or holds what will be needed later."""
        slot = self._slot_for(block)
        if slot is None:
            return
        if self._block_in[slot] >= 0:
            self._slot_of[self._block_in[slot]] = _ABSENT
        self._block_in[slot] = _ABSENT  # a process that dies now leaves a free slot
        self._images[slot, : len(pixels)] = pixels
        self._clock += 1
        self._block_in[slot], self._used[slot], self._slot_of[block] = block, self._clock[0], slot

    def _slot_for(self, block: int) -> int | None:
        """A free slot, else that of the block which is needed last: announced last, or not at all and used long ago."""
        if not self.slots:
            return None
        turns = np.where(self._block_in < 0, 0, self._turn[self._block_in])
        if (turns == 0).any():
            used = np.where(self._block_in < 0, -1, self._used)
            return int(np.where(turns == 0, used, np.iinfo(np.int64).max).argmin())
        last = int(turns.argmax())
        return last if 0 < self._turn[block] < turns[last] else None

    @contextmanager
    def _table(self, *, to_write: bool = True) -> Iterator[None]:
        with self._threads_lock, self._memory.lock(_TABLE, to_write):
            yield

    @contextmanager
    def _claimed(self, blocks: NDArray[np.intp], most: int) -> Iterator[list[int]]:
        """Claim up to `most` of the blocks that are not here and that nobody decodes, and release them afterwards."""
        claimed: list[int] = []
        try:
            with self._table():
                for block in blocks.tolist():
                    if len(claimed) == most:
                        break
                    if self._slot_of[block] < 0 and block not in self._decoding and self._memory.try_lock(1 + block):
                        claimed.append(block)
                        self._decoding.add(block)
            yield claimed
        finally:
            with self._threads_lock:
                for block in claimed:
                    self._decoding.discard(block)
                    self._memory.unlock(1 + block)


def _memory(size: int) -> SharedMemory:
    try:
        return SharedMemory(size)
    except OSError as error:
        raise SmaltiError(f"no {size} bytes of memory for decoded blocks ({error}): give less cache_bytes") from error


class _OneAtATime:
    """A lock for one thread of several, which use all cores: two at a time would only wait for each other."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held, self._waiting = False, 0

    @contextmanager
    def first(self) -> Iterator[None]:
        """Take it before those that take it last."""
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: not self._held)
            self._waiting -= 1
            self._held = True
        yield from self._release()

    @contextmanager
    def last(self) -> Iterator[None]:
        """Take it when nobody else waits."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._held or self._waiting))
            self._held = True
        yield from self._release()

    def _release(self) -> Iterator[None]:
        try:
            yield
        finally:
            with self._changed:
                self._held = False
                self._changed.notify_all()
