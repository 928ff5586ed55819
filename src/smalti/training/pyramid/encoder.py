"""The encoder of a pyramid. No archive stores it, so only the time of a fit limits its size."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smalti.training.common.distributed import ALONE, ProcessGroup
from smalti.training.pyramid.pyramid_settings import PyramidShape

__all__ = ["PyramidEncoder"]

CHANNELS = (64, 96)
"""Channels after the first layer, and at the resolution of the canvas."""

NORMAL_MOMENTUM = 0.01


class _Residual(nn.Module):
    """x + a small network of x (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(channels, channels, 3, padding=1)
        self.pointwise = nn.Conv2d(channels, channels, 1)

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape."""
        inner: Tensor = self.pointwise(F.silu(self.spatial(F.silu(values))))
        return values + inner


class _Head(nn.Module):
    """Values [n, channels, rows, columns] -> latents of a scale, each from the cells that it covers.

    group : the ranks that normalise their latents together while they learn
    """

    group: ProcessGroup = ALONE

    def __init__(self, channels: int, stride: tuple[int, int], latents: int) -> None:
        super().__init__()
        self.stride = stride
        cells = stride[0] * stride[1]
        hidden = 2 * channels if cells > 1 else channels
        self.layers = nn.Sequential(
            nn.Linear(channels * cells, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, latents),
        )
        # mean 0 and variance 1 in each channel: the scale of latents cannot drift while codes follow them
        self.normal = nn.BatchNorm2d(latents, affine=False, momentum=NORMAL_MOMENTUM)

    def forward(self, values: Tensor) -> Tensor:
        """Return latents [n, D, rows, columns]."""
        count, channels, rows, columns = values.shape
        (down, across), grid = self.stride, (rows // self.stride[0], columns // self.stride[1])
        cells = values.reshape(count, channels, grid[0], down, grid[1], across).permute(0, 2, 4, 1, 3, 5)
        latents = self.layers(cells.reshape(count, *grid, down * across * channels)).permute(0, 3, 1, 2)
        if self.training and self.group.size > 1:
            return self._normed_together(latents)
        if self.training and latents.numel() == latents.shape[1]:  # a single vector has no variance
            normal = self.normal
            return F.batch_norm(latents, normal.running_mean, normal.running_var, eps=normal.eps)
        normed: Tensor = self.normal(latents)
        return normed

    def _normed_together(self, latents: Tensor) -> Tensor:
        """Apply `normal` to the latents of all ranks at once; gradients pass through mean and variance."""
        normal = self.normal
        own = latents.new_tensor([latents.numel() // latents.shape[1]])
        *sums, count = self.group.summed(torch.cat([latents.sum((0, 2, 3)), own])).unbind()
        if count == 1:
            return F.batch_norm(latents, normal.running_mean, normal.running_var, eps=normal.eps)
        mean = torch.stack(sums) / count
        centred = latents - mean[:, None, None]
        variance = self.group.summed(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            normal.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            momentum = normal.momentum or 1 / float(normal.num_batches_tracked)  # type: ignore[arg-type]
            normal.running_mean.lerp_(mean, momentum)  # type: ignore[union-attr]
            normal.running_var.lerp_(variance * count / (count - 1), momentum)  # type: ignore[union-attr]
        return centred * (variance + normal.eps).rsqrt()[:, None, None]


class PyramidEncoder(nn.Module):
    """Images [n, C, H, W] in [0, 1] -> a list of latents [n, D, rows, columns], one for each scale.

    Latents are centred, so that an absent level stands for the average.
    """

    def __init__(self, shape: PyramidShape) -> None:
        super().__init__()
        self.shape = shape
        coarse, fine = CHANNELS
        first = shape.cell // 2  # stride of the first layer; a stride of 4 is cheap on CPUs
        self.patches = nn.Conv2d(shape.image_shape[2], coarse, 4, stride=first, padding=(4 - first) // 2)
        self.down = nn.Conv2d(coarse, fine, 4, stride=2, padding=1)
        self.residual = _Residual(fine)
        self.heads = nn.ModuleList(
            _Head(fine, stride, latents) for stride, latents in zip(shape.strides, shape.latents, strict=True)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the latents of images, coarse to fine."""
        height, width = images.shape[2:]
        rows, columns = self.shape.padded
        if (height, width) != (rows, columns):
            images = F.pad(images, (0, columns - width, 0, rows - height), mode="replicate")
        canvas = F.silu(self.residual(self.down(F.silu(self.patches(images)))))
        return [head(canvas) for head in self.heads]

    def share(self, group: ProcessGroup) -> None:
        """Normalise latents together with the other ranks of a group, while learning."""
        for head in self.heads:
            head.group = group  # type: ignore[assignment]

    @torch.no_grad()
    def settle(self, batches: Iterable[Tensor]) -> None:
        """Set mean and variance of the latents from these images, at the end of learning.

        The running values come from the encoders of earlier steps. Where latents vary little before normalisation, that
        difference is enough to change the tokens of an image.
        """
        normals = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        for normal in normals:
            normal.reset_running_stats()
            normal.momentum = None  # the average of all batches
        self.train()
        for batch in batches:
            self(batch)
        for normal in normals:
            normal.momentum = NORMAL_MOMENTUM
        self.eval()
