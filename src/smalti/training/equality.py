"""Whether the ranks of a fit begin with the same images, and end with the same numbers, bit for bit."""

import hashlib

import torch
from torch import Tensor

from smalti.errors import ModelError, SourceError
from smalti.training.distributed import Group
from smalti.training.images import TrainingImages

__all__ = ["check_equal", "check_same_images"]


def check_same_images(images: TrainingImages, group: Group) -> None:
    """Raise SourceError if a rank has other images than another."""
    if len(set(group.texts(images.fingerprint))) > 1:
        raise SourceError("the ranks have read different images; let every machine read the same source")


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
