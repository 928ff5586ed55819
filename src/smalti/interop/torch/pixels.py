"""Pixels as archives give them, to images as networks take them."""

import torch
from torch import Tensor

from smalti.errors import UsageError

__all__ = ["FLOATS", "as_images", "check_dtype"]

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
"""What images may be scaled to, [0, 1]."""


def check_dtype(dtype: torch.dtype | None) -> None:
    """UsageError unless images can be given in this dtype: None is as they are stored."""
    if dtype is not None and dtype not in FLOATS:
        raise UsageError(f"images of {dtype}: leave dtype out for integers as stored, or give {FLOATS[0]}")


def as_images(pixels: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Images [n, C, H, W] of pixels [n, H, W] or [n, H, W, C], uint8 or uint16.

    dtype : None keeps the integers; a floating-point type scales them to [0, 1], 255 or 65,535 to 1
    """
    if pixels.ndim == 4 and pixels.shape[3] == 1:
        pixels = pixels[..., 0]  # else strides would say that channels come last, and convolutions would add otherwise
    images = (pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)).contiguous()
    if dtype is None:
        return images
    wide = dtype if dtype.itemsize > 2 else torch.float32  # half floats cannot hold 65,535 steps
    # a tensor and no number: GPUs divide by a number by multiplying with its rounded reciprocal
    largest = torch.full((), torch.iinfo(pixels.dtype).max, dtype=wide, device=pixels.device)
    return images.to(wide).div_(largest).to(dtype)
