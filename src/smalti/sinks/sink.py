"""Outputs of images, each whole or not at all: one table from file names to writers.

Writers take batches as sources yield them, so memory does not grow with the number of images, except for labels (8
bytes each) and the set of names in use. A further kind of output is a module beside this one and a line in the table.
Layer: above the sources, whose names and formats the outputs share.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from smalti.errors import UsageError
from smalti.images.batch import INT16, UINT8, ImageBatch, OutputSpec, PixelDtype, Scalar
from smalti.images.vocabulary import TAR_SUFFIXES
from smalti.sources.arrays.idx import is_idx_name

__all__ = ["ImageWriter", "check_output_name", "holds_volumes", "makes_names", "open_image_writer"]

_FOREIGN_SUFFIXES = frozenset({".npz", ".zip", ".gz", ".zst", ".smalti", ".h5", ".hdf5", ".zarr"})
_KINDS = "a folder (PNG), .npy, .tif, .nii (or .nii.gz), .fits, IDX (-idx3-ubyte), .tar (.gz, .zst), .parquet or .mds"


class ImageWriter(Protocol):
    """Writes images in order."""

    def write(self, batch: ImageBatch) -> None:
        """Write the images of a batch. Every batch has labels, or none has; so with names, and with each field."""


# Each opener imports its own module, so that an output imports only what it needs.


def _npy(out: Path, spec: OutputSpec, overwrite: bool) -> AbstractContextManager[ImageWriter]:
    from smalti.sinks.array_files import NpyWriter, one_file  # noqa: PLC0415

    return one_file(NpyWriter, out, spec, overwrite)


def _idx(out: Path, spec: OutputSpec, overwrite: bool) -> AbstractContextManager[ImageWriter]:
    from smalti.sinks.array_files import IdxWriter, one_file  # noqa: PLC0415

    return one_file(IdxWriter, out, spec, overwrite)


def _tiff(out: Path, spec: OutputSpec, overwrite: bool) -> AbstractContextManager[ImageWriter]:
    from smalti.sinks.array_files import one_file  # noqa: PLC0415
    from smalti.sinks.volume_files import TiffWriter  # noqa: PLC0415

    return one_file(TiffWriter, out, spec, overwrite)


def _nifti(out: Path, spec: OutputSpec, overwrite: bool) -> AbstractContextManager[ImageWriter]:
    from smalti.sinks.array_files import one_file  # noqa: PLC0415
    from smalti.sinks.volume_files import NiftiWriter  # noqa: PLC0415

    return one_file(NiftiWriter, out, spec, overwrite)


def _fits(out: Path, spec: OutputSpec, overwrite: bool) -> AbstractContextManager[ImageWriter]:
    from smalti.sinks.array_files import one_file  # noqa: PLC0415
    from smalti.sinks.volume_files import FitsWriter  # noqa: PLC0415

    return one_file(FitsWriter, out, spec, overwrite)


def _tar(out: Path, spec: OutputSpec, overwrite: bool) -> AbstractContextManager[ImageWriter]:
    from smalti.sinks.tar_file import tar_file  # noqa: PLC0415

    return tar_file(out, spec, overwrite)


def _parquet(out: Path, spec: OutputSpec, overwrite: bool) -> AbstractContextManager[ImageWriter]:
    from smalti.sinks.parquet_file import parquet_file  # noqa: PLC0415

    return parquet_file(out, spec, overwrite)


def _mds(out: Path, spec: OutputSpec, overwrite: bool) -> AbstractContextManager[ImageWriter]:
    from smalti.sinks.mds_folder import mds_folder  # noqa: PLC0415

    return mds_folder(out, spec, overwrite)


def _folder(out: Path, spec: OutputSpec, overwrite: bool) -> AbstractContextManager[ImageWriter]:
    from smalti.sinks.png_folder import png_folder  # noqa: PLC0415

    return png_folder(out, spec, overwrite)


@dataclass(frozen=True)
class _OutputKind:
    """A kind of output.

    is_meant : whether a file name means this kind
    open : opens a writer
    one_shape, grey_bytes : whether it holds only images of one shape; only images of one channel and 8 bits
    signed : whether it holds signed pixels
    channels : the numbers of channels that it holds
    is_volume : whether it holds the axes of a volume, and fields that all planes share
    makes_names : whether images without names get some, because each is a file of its own
    """

    is_meant: Callable[[str], bool]
    open: Callable[[Path, OutputSpec, bool], AbstractContextManager[ImageWriter]]
    one_shape: bool = False
    grey_bytes: bool = False
    signed: bool = False
    channels: tuple[int, ...] = (1, 2, 3, 4)
    is_volume: bool = False
    makes_names: bool = False


def _volume(
    suffixes: tuple[str, ...],
    writer: Callable[[Path, OutputSpec, bool], AbstractContextManager[ImageWriter]],
    channels: tuple[int, ...] = (1, 2, 3, 4),
) -> _OutputKind:
    """Return the kind of outputs that hold a stack of planes."""
    return _OutputKind(
        lambda name: name.lower().endswith(suffixes),
        writer,
        one_shape=True,
        signed=True,
        channels=channels,
        is_volume=True,
    )


_OUTPUT_KINDS = (
    _volume((".tif", ".tiff"), _tiff),
    _volume((".nii", ".nii.gz"), _nifti, (1, 3)),
    _volume((".fits", ".fit"), _fits, (1,)),
    _OutputKind(lambda name: name.endswith(".npy"), _npy, one_shape=True, signed=True),
    _OutputKind(is_idx_name, _idx, one_shape=True, grey_bytes=True),
    _OutputKind(lambda name: name.lower().endswith(TAR_SUFFIXES), _tar, signed=True, makes_names=True),
    _OutputKind(lambda name: name.lower().endswith(".parquet"), _parquet),
    _OutputKind(lambda name: name.lower().endswith(".mds"), _mds, signed=True),
)
_FOLDER = _OutputKind(lambda name: True, _folder, signed=True, makes_names=True)  # all other names


@contextmanager
def open_image_writer(
    out: Path,
    image_shape: tuple[int, int, int] | None,
    images: int,
    *,
    dtype: PixelDtype = UINT8,
    overwrite: bool = False,
    class_names: Sequence[str] | None = None,
    axes: Sequence[tuple[str, int]] = (),
    shared: Mapping[str, Scalar] | None = None,
) -> Iterator[ImageWriter]:
    """Open a writer of images. The output appears at the end of the `with` block, if nothing was raised.

    out : NAME.npy; NAME.tif, NAME.nii (also .nii.gz) and NAME.fits for stacks; NAME-idx3-ubyte or NAME.idx3-ubyte, also
        with .gz, for 8 bits and one channel; NAME.tar, also with .gz or .zst; NAME.parquet; NAME.mds, a folder of
        shards; any other name is a folder of PNG files. docs/images.md says where each stores labels, names, class
        names and fields
    image_shape : height, width, channels of all images; None for images of several shapes or dtypes, which only a
        folder, .tar, .parquet and .mds hold
    images : the number of images that will be written
    dtype : uint8, uint16 or int16, of all images of that shape
    class_names : the names of labels; they also name the folders of images that have labels and no names
    axes, shared : as for `OutputSpec`, for outputs that hold volumes

    Raises OutputExistsError if the output exists and `overwrite` is not set (an empty folder is fine); UsageError
    for a name or a shape that the output cannot have; MissingDependencyError for .zst without zstandard and .parquet
    without pyarrow; SmaltiError if the system refuses to write, or if the output cannot hold some values.
    """
    check_output_name(out, image_shape, dtype)
    spec = OutputSpec(
        images, image_shape, dtype, None if class_names is None else tuple(class_names), tuple(axes), shared or {}
    )
    with _output_kind(out).open(out, spec, overwrite) as writer:
        yield writer


def check_output_name(
    out: Path,
    image_shape: tuple[int, int, int] | None,
    dtype: PixelDtype = UINT8,
) -> None:
    """Raise UsageError unless `out` is a name that such images (see `open_image_writer`) can be written to."""
    kind = _output_kind(out)
    if kind is _FOLDER and out.suffix and not out.is_dir() and _is_foreign(out.suffix.lower()):
        raise UsageError(f"{out}: {out.suffix} cannot be written; give {_KINDS}")
    if kind.one_shape and image_shape is None:
        raise UsageError(f"{out}: holds images of one shape, these have several; write a folder, .tar or .parquet")
    if kind.grey_bytes and image_shape is not None and image_shape[2] != 1:
        raise UsageError(f"{out}: IDX holds images of one channel, these have {image_shape[2]}; write .npy or PNG")
    if dtype == INT16 and not kind.signed:
        raise UsageError(
            f"{out}: holds no signed pixels, which these are; write a folder, .tar, .npy, .tif, .nii or .fits"
        )
    if image_shape is not None and image_shape[2] not in kind.channels:
        channels = " or ".join(map(str, kind.channels)) + (" channels" if kind.channels != (1,) else " channel")
        raise UsageError(f"{out}: holds images of {channels}, these have {image_shape[2]}; write .npy or .tif")
    if image_shape is not None and image_shape[2] > 1 and dtype != UINT8 and kind.open is _nifti:
        raise UsageError(f"{out}: holds colours of 8 bits, these have 16; write .npy or .tif")
    if kind.grey_bytes and dtype != UINT8:
        raise UsageError(f"{out}: IDX holds images of 8 bits, these have 16; write .npy or PNG")


def holds_volumes(out: Path) -> bool:
    """Whether an output of this name holds the axes of a volume, and fields that all planes share."""
    return _output_kind(out).is_volume


def makes_names(out: Path) -> bool:
    """Whether images without names get some in an output of this name; else only their position identifies them."""
    return _output_kind(out).makes_names


def _is_foreign(suffix: str) -> bool:
    """Whether a suffix is that of files which smalti does not write; then the name means no folder."""
    from smalti.imagefiles.table import IMAGE_SUFFIXES  # noqa: PLC0415 (Pillow, which few outputs need)

    return suffix in _FOREIGN_SUFFIXES or suffix in IMAGE_SUFFIXES


def _output_kind(out: Path) -> _OutputKind:
    return next((kind for kind in _OUTPUT_KINDS if kind.is_meant(out.name)), _FOLDER)
