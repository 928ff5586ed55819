"""Decoding of collated tokens on a device: fewer bytes travel to it, and the pixels are the same bit for bit.

This module also turns pixels, as archives give them, into images for networks.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smalti.archive.collection.collection import Collection
from smalti.archive.collection.sharing import network_key
from smalti.archive.read.reader import Archive
from smalti.decoders.contract import CellModel, ImageModel
from smalti.errors import UsageError
from smalti.torch_decoders.kinds import TORCH_CELL_DECODERS, TORCH_DECODERS

__all__ = ["FLOATS", "TokenDecoder", "any_size", "as_images", "check_dtype"]


_READ_IMAGES = "read images, with tokens=False"

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
"""The types of images that are scaled to [0, 1]."""


def check_dtype(dtype: torch.dtype | None) -> None:
    """Raise UsageError unless images can have this dtype; None keeps the stored integers."""
    if dtype is not None and dtype not in FLOATS:
        raise UsageError(f"images of {dtype}: omit dtype for integers as stored, or give {FLOATS[0]}")


def as_images(pixels: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Images [n, C, H, W] from pixels [n, H, W] or [n, H, W, C], uint8, uint16 or int16.

    dtype : None keeps the integers; a floating-point type scales them to [0, 1], so that 255 or 65,535 becomes 1, and
        signed ones to [-1, 1], so that 32,767 does
    """
    if pixels.ndim == 4 and pixels.shape[3] == 1:
        # else strides would say that channels come last, and convolutions would add in another order
        pixels = pixels[..., 0]
    images = (pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)).contiguous()
    if dtype is None:
        return images
    wide = dtype if dtype.itemsize > 2 else torch.float32  # half floats cannot hold 65,535 steps
    # a tensor, not a number: to divide by a number, GPUs multiply by its rounded reciprocal
    largest = torch.full((), torch.iinfo(pixels.dtype).max, dtype=wide, device=pixels.device)
    return images.to(wide).div_(largest).to(dtype)


class TokenDecoder:
    """Makes images from the tokens of an archive. It has its own copy of the model, so the archive may be closed.

    archive : or a collection of archives that share one model, with any of its codes
    device : the device that decodes
    dtype : None for integers as stored, or a floating-point type to scale them to [0, 1]

    It is not a torch module on purpose: nothing in it should be learned, saved or cast, and `half()` would change
    pixels.

    >>> decoder = dataset.decoder("cuda")
    >>> for tokens, labels in loader:
    ...     images = decoder(tokens)              # [n, C, H, W] on the device, the same as without tokens

    Raises UsageError if tokens alone do not determine the images, or if there are several models; also the errors of
    opening a model.
    """

    def __init__(
        self, archive: Archive | Collection, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
    ) -> None:
        check_dtype(dtype)
        self.device, self.dtype = torch.device(device), dtype
        self._indices: Tensor | None = None
        model: ImageModel | CellModel
        if any_size(archive):
            model, decoders = _common_cells(archive), TORCH_CELL_DECODERS
        else:
            model, decoders = _common_model(archive), TORCH_DECODERS
            self._indices = torch.from_numpy(_index_table(model.code_ids)).to(self.device)
        self._size = archive.image_shape[:2]
        self._signed = archive.dtype == np.int16
        if model.kind not in decoders:
            raise UsageError(f"{archive.path}: no decoder {model.kind!r} in PyTorch; read images, with tokens=False")
        self._decode = decoders[model.kind](model, self.device)

    def __call__(self, tokens: Tensor) -> Tensor:
        """Images [n, C, H, W] on the device for tokens, as the dataset gives them; UsageError for impossible tokens.

        Tokens are integers [n, h, w]; of an archive whose decoder makes images of any size, [n, rows, columns, M].
        """
        decoded = self._decode(tokens if self._indices is None else self._known(tokens, self._indices))
        height, width = self._size
        if decoded.shape[1] < height or decoded.shape[2] < width:
            raise UsageError(f"tokens of {list(tokens.shape[1:])} make no image of {height}x{width}")
        pixels = decoded[:, :height, :width]
        return as_images((pixels.to(torch.int32) - 32_768).to(torch.int16) if self._signed else pixels, self.dtype)

    def _known(self, tokens: Tensor, table: Tensor) -> Tensor:
        """The decoder's indices of tokens."""
        if tokens.ndim != 3 or tokens.is_floating_point() or tokens.is_complex():
            raise UsageError(f"tokens are {tokens.dtype} {list(tokens.shape)}, not integers [images, rows, columns]")
        found = tokens.to(self.device, torch.int64)
        known = found.clamp(0, len(table) - 1)
        indices = table[known]
        if not bool(((found == known) & (indices >= 0)).all()):
            raise UsageError("tokens that are not codes in use of this archive")
        return indices


def any_size(archive: Archive | Collection) -> bool:
    """Whether the decoder of an archive, or of a member of a collection, makes images of any size."""
    if isinstance(archive, Archive):
        return archive.any_size
    return any(facts.any_size for facts in archive.members.facts)


def _common_cells(archive: Archive | Collection) -> CellModel:
    """The model of all members; UsageError if there is none, or if images have several sizes."""
    if len(archive.image_shapes) > 1:
        raise UsageError(
            f"{archive.path}: its images have several sizes, which make no batch of tokens; {_READ_IMAGES}"
        )
    members = archive.members if isinstance(archive, Collection) else (archive,)
    model: CellModel | None = None
    for member in (members[number] for number in range(len(members))):
        found = member.cells.model if member.any_size else None
        if found is None or (model is not None and (found.kind, found.to_bytes()) != (model.kind, model.to_bytes())):
            raise UsageError(f"{archive.path}: its members have several models; {_READ_IMAGES}")
        model = found
    assert model is not None  # a collection has a member
    return model


def _common_model(archive: Archive | Collection) -> ImageModel:
    """The model of all members, with the codes of all; UsageError if there is none."""
    members = archive.members if isinstance(archive, Collection) else (archive,)
    first = members[0]
    key, grid = network_key(first.sections.header, first.model), first.model.grid
    shared = first.model.sharing()
    for member in (members[number] for number in range(len(members))):
        header = member.sections.header
        if header.has_residuals:
            raise UsageError(
                f"{member.path}: residuals keep its error bound, and tokens alone do not hold them; read images, with "
                "tokens=False"
            )
        own = member.model
        if (network_key(header, own), own.grid) != (key, grid) or not shared.add(own):
            raise UsageError(f"{archive.path}: its members have several models; read images, with tokens=False")
    return shared.model


def _index_table(code_ids: NDArray[np.uint16]) -> NDArray[np.int64]:
    """The decoder's index of each token, int64 [largest token + 1]; -1 for tokens without one."""
    indices = np.full(int(code_ids.max()) + 1, -1, np.int64)
    indices[code_ids] = np.arange(len(code_ids))
    return indices
