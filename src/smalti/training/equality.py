"""Whether the ranks of a fit ended with the same numbers, bit for bit."""

import hashlib

import torch
from torch import Tensor

from smalti.errors import ModelError
from smalti.training.distributed import Group

__all__ = ["check_equal"]


def check_equal(tensors: dict[str, Tensor], group: Group) -> None:
    """Raise ModelError, naming the tensors, if a tensor has other bits on one rank than on another."""
    if group.size == 1:
        return
    own = torch.tensor([[_digest(tensor) for tensor in tensors.values()]])
    everywhere = group.gather(own)
    differing = [name for name, digests in zip(tensors, everywhere.T, strict=True) if len(digests.unique()) > 1]
    if differing:
        raise ModelError(
            f"the ranks have learned different numbers in {', '.join(differing)}; "
            "fit on machines of one kind, with one release of torch and one number of threads"
        )


def _digest(tensor: Tensor) -> int:
    """The first 63 bits of a SHA-256."""
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return int.from_bytes(hashlib.sha256(values.tobytes()).digest()[:8]) >> 1
