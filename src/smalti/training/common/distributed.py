"""Several processes fit one model: each learns from its part of every batch, and the results are summed over all.

Training code is the same for one process and for many: it takes a `ProcessGroup`. The simplest group is one process
(`ALONE`), for which these methods do nothing. A batch holds the same images for any number of ranks, so fits with
different numbers of ranks differ only by the order of float sums. Built on torch.distributed: gloo on CPUs, NCCL on
GPUs. Ranks exchange only tensors and JSON, never pickle.
"""

import importlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from smalti.errors import SmaltiError
from smalti.training.common.tensors import State

__all__ = ["ALONE", "TIMEOUT", "ProcessGroup", "RankError", "Ranks", "joined"]

TIMEOUT = timedelta(minutes=30)
"""The longest wait for another rank: one rank may read its source this much longer than another."""

Array = TypeVar("Array", Tensor, NDArray[Any])


class RankError(SmaltiError):
    """Another rank failed or is out of reach. The message names the rank where it is known."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ProcessGroup:
    """The processes that fit a model together. This base class is a group of one process.

    rank : this process's number, from 0
    size : number of processes

    All ranks must call every method except `part`, in the same order.
    """

    rank = 0
    size = 1

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, the only rank that writes files and messages."""
        return self.rank == 0

    def part(self, values: Array) -> Array:
        """Return this rank's share of rows that all ranks have: adjacent parts, whose lengths differ by at most 1."""
        return values

    def own_device(self, device: str) -> str:
        """Return this rank's device of the given kind."""
        return device

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all ranks, with the same bits on every rank."""

    def summed(self, tensor: Tensor) -> Tensor:
        """Return a tensor's sum over all ranks. Gradients pass through it to every rank."""
        return tensor

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any rank."""
        return flag

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows [n, ...] of all ranks, in rank order."""
        return rows

    def pick(self, rows: Tensor, indices: Tensor) -> Tensor:
        """Return some rows [n, ...] of all ranks; the indices are those of `gather`'s result."""
        return rows[indices.to(rows.device)]

    def count(self, rows: Tensor) -> int:
        """Return the number of rows on all ranks together."""
        return len(rows)

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by rank 0's."""

    def from_main(self, read: Callable[[], State | None]) -> State | None:
        """Return, on every rank, the result of `read` on rank 0. The other ranks do not call it."""
        return read()

    def texts(self, text: str) -> list[str]:
        """Return the texts of all ranks, in rank order."""
        return [text]

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """Run a block that must succeed on every rank: if it fails on one, all ranks raise an error.

        Rank 0 raises its own error. Every other rank, and rank 0 if it has none, raises a RankError that names the
        first rank that failed, and its error. The block itself must not wait for other ranks.
        """
        yield

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.any(False)


ALONE = ProcessGroup()
"""The group of a process that fits by itself."""


class Ranks(ProcessGroup):
    """The default process group of torch.distributed.

    device : the device that tensors must be on to be sent
    """

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.device = _transfer_device()

    def part(self, values: Array) -> Array:
        """Return this rank's rows."""
        count = len(values)
        return values[count * self.rank // self.size : count * (self.rank + 1) // self.size]

    def own_device(self, device: str) -> str:
        """Return the GPU that LOCAL_RANK selects, for "cuda"; any other device as it is."""
        return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and "LOCAL_RANK" in os.environ else device

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum, with one collective for each dtype."""
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            alike = [tensor for tensor in tensors if tensor.dtype == dtype]
            bucket = torch.cat([tensor.detach().reshape(-1).to(self.device) for tensor in alike])
            self._call(dist.all_reduce, bucket)
            _put(bucket, alike)

    def summed(self, tensor: Tensor) -> Tensor:
        """Return the sum over all ranks, with gradients."""
        result: Tensor = _Summed.apply(tensor, self)  # type: ignore[no-untyped-call]
        return result

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any rank."""
        flags = torch.tensor([int(flag)], dtype=torch.int32)
        self.add_up([flags])
        return bool(flags)

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all ranks."""
        return torch.cat(self._parts(rows))

    def pick(self, rows: Tensor, indices: Tensor) -> Tensor:
        """Return rows by their indices over all ranks: a row plus the zeros of all other ranks is the row."""
        lengths = self._lengths(rows)
        own = indices - sum(lengths[: self.rank])
        here = (own >= 0) & (own < len(rows))
        picked = rows.new_zeros(len(indices), *rows.shape[1:])
        picked[here.to(rows.device)] = rows[own[here].to(rows.device)]
        self.add_up([picked])
        return picked

    def count(self, rows: Tensor) -> int:
        """Return the number of rows on all ranks together."""
        return sum(self._lengths(rows))

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by rank 0's, as bytes and in one transfer."""
        if tensors:
            sent = torch.cat([_bytes_of(tensor) for tensor in tensors]).to(self.device)
            self._call(dist.broadcast, sent, 0)
            start, received = 0, sent.cpu()
            for tensor in tensors:
                stop = start + tensor.numel() * tensor.element_size()
                values = received[start:stop].clone().view(tensor.dtype)  # a copy is aligned for any dtype
                tensor.detach().copy_(values.view(tensor.shape))
                start = stop

    def from_main(self, read: Callable[[], State | None]) -> State | None:
        """Return rank 0's result; if `read` fails there, all ranks fail as in `agreed`."""
        state: State | None = None
        with self.agreed():
            state = read() if self.is_main else None
        tensors, description = state or ({}, None)
        forms = {name: [str(tensor.dtype), list(tensor.shape)] for name, tensor in tensors.items()}
        forms, description = json.loads(self.texts(json.dumps([forms, description]))[0])
        if description is None:
            return None
        if not self.is_main:
            tensors = {
                name: torch.empty(shape, dtype=getattr(torch, dtype.removeprefix("torch.")))
                for name, (dtype, shape) in forms.items()
            }
        self.broadcast(list(tensors.values()))
        return tensors, description

    def texts(self, text: str) -> list[str]:
        """Return the texts of all ranks, in rank order."""
        letters = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8) if text else torch.empty(0).byte()
        return [part.cpu().numpy().tobytes().decode() for part in self._parts(letters)]

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """Run a block that must succeed on every rank."""
        own: Exception | None = None
        try:
            yield
        except Exception as error:  # noqa: BLE001 (any error is raised below, once all ranks know of it)
            own = error
        errors = self.texts("" if own is None else json.dumps([getattr(own, "exit_code", 1), str(own)]))
        if own is not None and self.is_main:
            raise own
        failed = [rank for rank in range(self.size) if errors[rank]]
        if failed:
            code, line = json.loads(errors[failed[0]])
            raise RankError(f"rank {failed[0]}: {line}", code) from own

    def _parts(self, rows: Tensor) -> list[Tensor]:
        """Return the rows of each rank."""
        lengths = self._lengths(rows)
        padded = rows.new_zeros(max(lengths), *rows.shape[1:], device=self.device)
        padded[: len(rows)] = rows.detach()
        received = [torch.empty_like(padded) for _ in lengths]
        self._call(dist.all_gather, received, padded)
        return [part[:length].to(rows.device) for part, length in zip(received, lengths, strict=True)]

    def _lengths(self, rows: Tensor) -> list[int]:
        own = torch.tensor([len(rows)], device=self.device)
        received = [torch.empty_like(own) for _ in range(self.size)]
        self._call(dist.all_gather, received, own)
        return [int(length) for length in received]

    def _call(self, collective: Callable[..., Any], *arguments: Any) -> None:
        """Run a collective; RankError if another rank is gone or does not answer in time."""
        try:
            collective(*arguments)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise RankError(
                f"rank {self.rank} of {self.size} lost the others ({reason}); see what the one that failed said, "
                "then start all again with --resume"
            ) from error


class _Summed(torch.autograd.Function):
    """A sum over ranks. The losses of all ranks depend on it, so its gradient is the sum of their gradients."""

    @staticmethod
    def forward(context: Any, tensor: Tensor, group: Ranks) -> Tensor:
        context.group = group
        total = tensor.detach().clone()
        group.add_up([total])
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].clone()
        context.group.add_up([total])
        return total, None


@contextmanager
def joined(device: str = "cpu", timeout: timedelta = TIMEOUT) -> Iterator[ProcessGroup]:
    """Enter the group that this process belongs to.

    If a process group is already initialised, it is used and left as it is. Else one is started from the environment of
    torchrun (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), and ended with the block. Without either, the
    process is alone.

    device : as for `choose_device`; ranks on GPUs use NCCL, others gloo
    timeout : the longest wait for another rank

    Raises RankError if the other ranks cannot be found.
    """
    if dist.is_available() and dist.is_initialized():
        yield Ranks() if dist.get_world_size() > 1 else ALONE
        return
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    _import_functions_of_groups()
    on_gpu = torch.cuda.is_available() and device.partition(":")[0] in ("auto", "cuda")
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timeout)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise RankError(f"cannot join the other processes ({reason}); start all of them with torchrun") from error
    try:
        yield Ranks()
    finally:
        dist.destroy_process_group()


def _import_functions_of_groups() -> None:
    """Import the module whose functions would else keep our group to the end of the process.

    The group at import becomes their default argument, and an optimizer imports them. A group that is kept keeps its
    threads; if one is still releasing a tensor when Python ends, the process aborts.
    """
    if dist.is_available():
        importlib.import_module("torch.distributed.nn.functional")


def _transfer_device() -> torch.device:
    on_gpu = "gloo" not in dist.get_backend() and torch.cuda.is_available()
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


def _put(bucket: Tensor, tensors: Sequence[Tensor]) -> None:
    """Copy concatenated values into tensors."""
    for tensor, values in zip(tensors, torch.split(bucket, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.detach().copy_(values.view(tensor.shape))


def _bytes_of(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
