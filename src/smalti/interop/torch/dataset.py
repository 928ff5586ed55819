"""An archive as a map-style dataset for any number of processes, however they were started.

Processes share no open file: each opens the archive when it first reads from it. A forked process never touches the
archive of its parent, or its locks, which a thread of the parent may have held. They do share decoded blocks.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

import smalti
from smalti.archive.collection.directory import MemberFacts
from smalti.archive.collection.members import MemberSummary
from smalti.archive.read.selection import Selection, resolve
from smalti.compiled import expect_much
from smalti.errors import SmaltiError, UsageError
from smalti.images.batch import Pixels
from smalti.interop.torch.decoded_blocks import DecodedBlocks
from smalti.interop.torch.decoder import TokenDecoder, any_size, as_images, check_dtype

__all__ = ["ArchiveDataset"]

Images = smalti.Archive | smalti.Collection

DEFAULT_CACHE_BYTES = 512 << 20


class ArchiveDataset(Dataset[Any]):
    """The images of an archive by number, as `(image, label)`, or as the image alone if there are no labels.

    image : uint8 [C, H, W] as stored; with `dtype` (torch.float32, say) scaled to [0, 1]
    label : int, -1 for an image without one in a collection where others have labels

    path : of an archive, or anything that `smalti.open` opens: a URL, a collection. If images differ in shape, each
        keeps its own; a transform can give them one shape
    transform, target_transform : called with each image, and each label
    dtype : None, or a floating-point type
    labels : False gives images without labels
    tokens : True gives tokens instead of images, int32 [h, w] as in `archive.tokens`. `decoder` then makes the same
        pixels where they are needed, a batch at a time. Archives of the profile `photo` have [rows, columns, M]; their
        images must all have one size
    threads : threads that decode pixels in each process; they do not change the pixels. None for as many as PyTorch
        uses: all cores, but 1 in a worker
    cache_bytes : of memory for decoded blocks, which all processes of this dataset share; 0 for none. A block is
        decoded whole, once for all of them, if all blocks fit, or if a BlockShuffleSampler of this dataset has
        announced it, and then ahead of its use. Images of several shapes have no such memory
    limits, storage_options : as for `smalti.open`

    >>> DataLoader(ArchiveDataset("digits.smalti"), batch_size=256, num_workers=2)

    A list of numbers, a slice or a mask gives a whole batch, images [n, C, H, W] and labels int64 [n]. Raises the
    errors of `smalti.open`, and UsageError for arguments that exclude each other.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        transform: Callable[[Tensor], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        *,
        dtype: torch.dtype | None = None,
        labels: bool = True,
        tokens: bool = False,
        threads: int | None = None,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        limits: smalti.Limits | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        check_dtype(dtype)
        if (threads is not None and threads < 1) or cache_bytes < 0:
            raise UsageError(f"{threads} threads and {cache_bytes} bytes of decoded blocks cannot be")
        if tokens and transform is not None:
            raise UsageError("with tokens=True there are no images to transform yet: transform what the decoder gives")
        self.path = _absolute(path)
        self.dtype, self.tokens = dtype, tokens
        self._transform, self._target_transform = transform, target_transform
        self._threads, self._limits, self._storage_options = threads, limits, storage_options
        self._opened: dict[int, Images] = {}
        archive = self._open()
        if tokens and any_size(archive) and len(archive.image_shapes) > 1:
            archive.close()
            raise UsageError(
                f"{self.path}: its images have several sizes, which make no batch of tokens; read images, with "
                "tokens=False"
            )
        self._opened[os.getpid()] = archive
        self._members = _member_facts(archive)
        self.block_bounds: NDArray[np.int64] = archive.block_bounds
        self.class_names: tuple[str, ...] | None = archive.class_names if labels else None
        self._labelled = labels and archive.labels is not None
        self._decoded: dict[int, DecodedBlocks] = {}
        if not tokens and len(archive.image_shapes) == len(archive.dtypes) == 1 and len(archive):
            dtype_of_pixels = np.dtype(archive.dtypes[0])
            decoded = DecodedBlocks(self.block_bounds, archive.image_shape, dtype_of_pixels, cache_bytes)
            if decoded.slots:
                self._decoded[os.getpid()] = decoded

    def __enter__(self) -> "ArchiveDataset":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self.block_bounds[-1])

    def __getitem__(self, number: Selection) -> Any:
        """An item for a number; a batch for a list or array of numbers, a slice or a mask.

        Raises ImageIndexError for a number out of range, UsageError for anything else that is no index.
        """
        numbers, single = resolve(number, len(self))
        if single:
            return self.__getitems__(numbers.tolist())[0]
        return self._batch(number if isinstance(number, list) else numbers.tolist())

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        """The items of these numbers, for DataLoader. Each token block is decoded at most once."""
        images: Sequence[Any] = self._each(numbers)
        if self._transform is not None:
            images = [self._transform(image) for image in images]
        found = self._labels(numbers)
        if found is None:
            return list(images)
        labels: list[Any] = found.tolist()
        if self._target_transform is not None:
            labels = [self._target_transform(label) for label in labels]
        return list(zip(images, labels, strict=True))

    def decoder(self, device: str | torch.device = "cpu") -> TokenDecoder:
        """A decoder of batches of tokens on a device. It makes the images that this dataset gives without `tokens`.

        Raises UsageError if tokens alone do not determine the images of this archive.
        """
        return TokenDecoder(self.archive, device, self.dtype)

    @property
    def archive(self) -> Images:
        """The archive, opened by this process."""
        process = os.getpid()
        archive = self._opened.get(process)
        if archive is None:
            archive = self._open()
            facts, summaries = self._members
            if isinstance(archive, smalti.Collection) and archive.members.facts == facts:
                archive.members.adopt(summaries)  # so that a worker need not open all members again
            if not np.array_equal(archive.block_bounds, self.block_bounds):
                archive.close()
                raise SmaltiError(f"{self.path}: it has been replaced since the dataset was made")
            opened = self._opened.setdefault(process, archive)  # another thread may have been faster
            if opened is not archive:
                archive.close()
            archive = opened
        return archive

    def expect(self, blocks: Sequence[int]) -> None:
        """Take the blocks that will be needed next, in their order, from a sampler. They are decoded ahead."""
        decoded = self._decoded_blocks()
        if decoded is not None:
            decoded.expect(blocks)

    def close(self) -> None:
        """Close the archive in this process. The next access opens it again."""
        decoded = self._decoded.get(os.getpid())
        if decoded is not None:
            decoded.stop()
        archive = self._opened.pop(os.getpid(), None)
        if archive is not None:
            archive.close()

    def __getstate__(self) -> dict[str, Any]:
        """The state without the open archive, for worker processes."""
        return self.__dict__ | {"_opened": {}, "_decoded": list(self._decoded.values())[:1]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickle."""
        self.__dict__ |= state | {"_decoded": {os.getpid(): decoded for decoded in state["_decoded"]}}

    def _open(self) -> Images:
        return smalti.open(self.path, self._limits, self._most_threads, self._storage_options)

    @property
    def _most_threads(self) -> int:
        return self._threads or torch.get_num_threads()

    def _decoded_blocks(self) -> DecodedBlocks | None:
        """The decoded blocks, in this process."""
        process = os.getpid()
        if self._decoded and process not in self._decoded:
            before = next(iter(self._decoded.values()))
            self._decoded.setdefault(process, before.forked())  # another thread may have been faster
        return self._decoded.get(process)

    def _batch(self, numbers: Sequence[int]) -> Any:
        if self._transform is None and self._target_transform is None:
            inputs, labels = self._inputs(numbers), self._labels(numbers)
            return inputs if labels is None else (inputs, torch.from_numpy(labels))
        return torch.utils.data.default_collate(self.__getitems__(numbers))

    def _each(self, numbers: Sequence[int]) -> Sequence[Tensor]:
        """Images or tokens, one by one."""
        archive = self.archive
        if not self.tokens and len(archive.image_shapes) > 1:
            return [as_images(torch.from_numpy(pixels[None]), self.dtype)[0] for pixels in archive.images(numbers)]
        return self._inputs(numbers).unbind()

    def _inputs(self, numbers: Sequence[int]) -> Tensor:
        """Images [n, C, H, W], or tokens."""
        if self.tokens:
            return torch.from_numpy(self._tokens_of(numbers))
        return as_images(torch.from_numpy(self._pixels(numbers)), self.dtype)

    def _pixels(self, numbers: Sequence[int]) -> Pixels:
        """Pixels [n, H, W] or [n, H, W, C]."""
        decoded = self._decoded_blocks()
        if decoded is None:
            return self.archive[numbers]
        indices, _ = resolve(numbers, len(self))
        if not decoded.serve(indices):
            return self.archive[numbers]
        pixels = decoded.read(indices, self._decode, self._most_threads)
        decoded.decode_ahead(self._decode, self._most_threads)
        return pixels[..., 0] if pixels.shape[3] == 1 else pixels

    def _decode(self, numbers: NDArray[np.int64]) -> Pixels:
        """Pixels [n, H, W, C], decoded now."""
        expect_much()
        return self.archive[numbers].reshape(len(numbers), *self.archive.image_shape)

    def _labels(self, numbers: Sequence[int]) -> NDArray[np.int64] | None:
        if not self._labelled:
            return None
        labels = self.archive.labels
        assert labels is not None  # the archive had labels when the dataset was made, and it is the same
        return labels[np.asarray(numbers, np.intp)]

    def _tokens_of(self, numbers: Sequence[int]) -> NDArray[np.int32]:
        """Tokens int32 [n, h, w], read block by block."""
        indices, _ = resolve(numbers, len(self))
        archive = self.archive
        tokens = np.empty((len(indices), *archive.tokens(0, 0).shape[1:]), np.int32)
        blocks = np.searchsorted(self.block_bounds, indices, side="right")
        for block in np.unique(blocks):
            rows = np.flatnonzero(blocks == block)
            first, last = int(indices[rows].min()), int(indices[rows].max())
            tokens[rows] = archive.tokens(first, last + 1)[indices[rows] - first]
        return tokens


def _member_facts(archive: Images) -> tuple[tuple[MemberFacts, ...], tuple[MemberSummary, ...]]:
    """Facts about the members of a collection, for other processes; empty for a single archive."""
    if isinstance(archive, smalti.Archive):
        return (), ()
    return archive.members.facts, archive.members.summaries()


def _absolute(path: str | PathLike[str]) -> str:
    """The absolute path, for processes with another working folder; a URL stays as it is."""
    text = os.fspath(path)
    return text if "://" in text else str(Path(text).absolute())
