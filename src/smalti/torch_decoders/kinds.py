"""The decoder in PyTorch for each kind of decoder, by the name that headers state."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from smalti.decoders.grid.grid_kind import GRID, GridImageModel
from smalti.decoders.pixels.pixel_kind import PIXELS
from smalti.decoders.pixels.pixel_model import PixelModel
from smalti.decoders.pyramid.pyramid_kind import PYRAMID, PyramidImageModel
from smalti.decoders.transform.transform_kind import TRANSFORM
from smalti.decoders.transform.transform_model import TransformModel
from smalti.torch_decoders.grid import TorchIntegerDecoder
from smalti.torch_decoders.pixels import TorchPixelDecoder
from smalti.torch_decoders.pyramid import TorchPyramidDecoder
from smalti.torch_decoders.transform import TorchTransformDecoder

__all__ = ["TORCH_CELL_DECODERS", "TORCH_DECODERS", "TorchDecoder"]

TorchDecoder = Callable[[Tensor], Tensor]
"""Pixels [n, H', W', C] of indices int64 [n, h, w] into a model's `code_ids`; a CellModel takes tokens [n, h, w, M]."""


def _grid(model: GridImageModel, device: torch.device) -> TorchDecoder:
    return TorchIntegerDecoder(model.network, device).decode


def _pyramid(model: PyramidImageModel, device: torch.device) -> TorchDecoder:
    decoder = TorchPyramidDecoder(model.network, model.grid, device)
    return lambda indices: decoder.decode(indices.flatten(1))


def _transform(model: TransformModel, device: torch.device) -> TorchDecoder:
    return TorchTransformDecoder(model.network, device).decode


def _pixels(model: PixelModel, device: torch.device) -> TorchDecoder:
    return TorchPixelDecoder(model, device).decode


TORCH_DECODERS: Mapping[str, Callable[[Any, torch.device], TorchDecoder]] = {
    GRID.name: _grid,
    PYRAMID.name: _pyramid,
}
"""Each makes a decoder from an ImageModel of its kind and the device to decode on."""

TORCH_CELL_DECODERS: Mapping[str, Callable[[Any, torch.device], TorchDecoder]] = {
    TRANSFORM.name: _transform,
    PIXELS.name: _pixels,
}
"""The same for a CellModel."""
