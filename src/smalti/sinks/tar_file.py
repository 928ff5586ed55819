"""A TAR file as an output, laid out as WebDataset reads it: `key.png`, `key.cls` and `key.json` for each image.

Signed images are `key.tif`. A sample (https://github.com/webdataset/webdataset) is a run of members with the same path
up to the first dot of its last part. `.cls` holds the label as a number, `.json` the fields; members named `__NAME__`
are no samples. The same images make the same bytes: no times, one owner, one mode, in the order of the images.
"""

import gzip
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from smalti.errors import MissingDependencyError
from smalti.imagefiles.table import IMAGE_SUFFIXES
from smalti.images.batch import ImageBatch, OutputSpec
from smalti.images.file_names import image_suffix, is_safe_name, numbered_name, without_number
from smalti.images.vocabulary import TRUE_NAME, webdataset_ignores
from smalti.sinks.volume_files import image_file
from smalti.sources.folder.sidecar import check_field_names, class_names_bytes, field_rows, json_line
from smalti.sources.tar.tar import CLASS_NAMES_MEMBER
from smalti.storage.atomic import atomic_file, writing

__all__ = ["TarWriter", "key_of", "tar_file"]


class TarWriter:
    """Writes batches as members of a TAR stream; images may differ in shape and dtype.

    The key of an image is its name without the suffix of an image file, with `_` for each dot of its last part. It is a
    number if there is no name, or no safe one; a key in use gets a number at its end. A name that is not that of the
    member is stored in the fields, as `__name__`.
    """

    def __init__(self, stream: BinaryIO, out: Path, spec: OutputSpec) -> None:
        self._stream = stream
        self._out = out
        self._images = spec.images
        self._written = 0
        self._keys: set[str] = set()
        self._bytes = 0
        if spec.class_names is not None:
            self._add(CLASS_NAMES_MEMBER, class_names_bytes(spec.class_names))

    def write(self, batch: ImageBatch) -> None:
        """Write the images of a batch. SmaltiError if the system refuses to write."""
        check_field_names(batch.fields, TRUE_NAME)
        if not self._written and not self._bytes and batch.labels is None and "/" in (batch.names or ("",))[0]:
            self._add(CLASS_NAMES_MEMBER, class_names_bytes(()))  # else readers take the folders for classes
        for position, row in enumerate(field_rows(batch.fields, len(batch))):
            name = None if batch.names is None else batch.names[position]
            key = self._key(name)
            member = f"{key}{image_suffix(batch.pixels.dtype)}"
            self._add(member, image_file(batch.pixels[position]))
            if batch.labels is not None:
                self._add(f"{key}.cls", str(int(batch.labels[position])).encode())
            renamed = {TRUE_NAME: name} if name not in (None, member) else {}
            if renamed or row:
                self._add(f"{key}.json", json_line(renamed | row))
            self._written += 1

    def finish(self) -> None:
        """Write the end of the stream: zeros up to a whole number of TAR records."""
        with writing(self._out):
            end = 2 * tarfile.BLOCKSIZE
            self._stream.write(bytes(end + -(self._bytes + end) % tarfile.RECORDSIZE))

    def _key(self, name: str | None) -> str:
        """Return a key that is not in use."""
        number = PurePosixPath(numbered_name(self._written, self._images, None)).stem
        if name is None:
            return number
        first = key_of(name) or number
        spare = (f"{first}_{extra}" for extra in chain([number], count(2)))
        key = next(key for key in chain([first], spare) if key not in self._keys)
        self._keys.add(key)
        return key

    def _add(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        # `tarfile.TarFile` would hold every header in memory until the end
        head = member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        with writing(self._out):
            for part in (head, data, bytes(-len(data) % tarfile.BLOCKSIZE)):
                self._stream.write(part)
                self._bytes += len(part)


def key_of(name: str) -> str | None:
    """Return the key for an image of this name; None if the name is no safe path, or WebDataset ignores it."""
    if not is_safe_name(name) or webdataset_ignores(name):
        return None
    name, number = without_number(name)
    path = PurePosixPath(name)
    stem = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
    return str(path.with_name(stem.replace(".", "_") + number))


@contextmanager
def tar_file(out: Path, spec: OutputSpec, overwrite: bool) -> Iterator[TarWriter]:
    """Open a writer of a TAR file, which appears at the end of the `with` block; its suffix sets the compression.

    Raises MissingDependencyError for .tar.zst without zstandard, and what `atomic_file` raises.
    """
    with atomic_file(out, overwrite=overwrite) as file:
        stream = _compressed(file, out.name.lower())
        writer = TarWriter(stream, out, spec)
        yield writer
        writer.finish()
        if stream is not file:
            with writing(out):
                stream.close()


def _compressed(file: BinaryIO, name: str) -> BinaryIO:
    """Return a stream that compresses into `file` and leaves it open when closed; or the file itself."""
    if name.endswith("gz"):
        return cast(BinaryIO, gzip.GzipFile("", "wb", 6, file, mtime=0))
    if not name.endswith("zst"):
        return file
    try:
        import zstandard  # noqa: PLC0415 (optional: only .zst needs it)
    except ImportError as error:
        raise MissingDependencyError.of("writing .tar.zst", "zstandard", "zstd") from error
    return cast(BinaryIO, zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False))
