"""The encoder of a pyramid. It is never stored in an archive, so it may be as large as time allows."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from smalti.training.pyramid.shape import PyramidShape

__all__ = ["PyramidEncoder"]

CHANNELS = (32, 64, 96)
"""After each halving of the sides; the last ones, if there are fewer."""

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
    """Values [n, channels, rows, columns] -> latents of a scale, each from the cells that it covers."""

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
        # per channel mean 0 and variance 1: the scale of latents cannot drift while codes follow them
        self.normal = nn.BatchNorm2d(latents, affine=False, momentum=NORMAL_MOMENTUM)

    def forward(self, values: Tensor) -> Tensor:
        """Return latents [n, D, rows, columns]."""
        count, channels, rows, columns = values.shape
        (down, across), grid = self.stride, (rows // self.stride[0], columns // self.stride[1])
        cells = values.reshape(count, channels, grid[0], down, grid[1], across).permute(0, 2, 4, 1, 3, 5)
        latents = self.layers(cells.reshape(count, *grid, -1)).permute(0, 3, 1, 2)
        if self.training and latents.numel() == latents.shape[1]:  # one vector has no variance of its own
            normal = self.normal
            return F.batch_norm(latents, normal.running_mean, normal.running_var, eps=normal.eps)
        normed: Tensor = self.normal(latents)
        return normed


class PyramidEncoder(nn.Module):
    """Images [n, C, H, W] in [0, 1] -> a list of latents [n, D, rows, columns], one for each scale.

    Latents are centred, so that a level that is absent stands for the average.
    """

    def __init__(self, shape: PyramidShape) -> None:
        super().__init__()
        self.shape = shape
        channels = (shape.image_shape[2], *CHANNELS[-len(shape.widths) :])
        self.down = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 4, stride=2, padding=1) for inputs, outputs in pairwise(channels)
        )
        self.residual = nn.Sequential(_Residual(channels[-1]), _Residual(channels[-1]))
        self.heads = nn.ModuleList(
            _Head(channels[-1], stride, latents) for stride, latents in zip(shape.strides, shape.latents, strict=True)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the latents of images, coarse to fine."""
        height, width = images.shape[2:]
        rows, columns = self.shape.padded
        if (height, width) != (rows, columns):
            images = F.pad(images, (0, columns - width, 0, rows - height), mode="replicate")
        values = images
        for layer in self.down:
            values = F.silu(layer(values))
        canvas = F.silu(self.residual(values))
        return [head(canvas) for head in self.heads]
