"""A TAR file as an output, laid out as WebDataset reads it: `key.png`, `key.cls` and `key.json` for each image.

https://github.com/webdataset/webdataset: members that follow each other and share what is before the first dot of
their last part are one sample. The label is the number in `.cls`, further fields are in `.json`, and members called
`__NAME__` are no samples. The same images make the same bytes: no times, one owner, one mode, in the order of images.
"""

import gzip
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from smalti.errors import MissingDependencyError
from smalti.imagefiles.png import png_bytes
from smalti.imagefiles.table import IMAGE_SUFFIXES
from smalti.images.batch import ImageBatch, OutputSpec
from smalti.images.file_names import is_safe_name, numbered_name
from smalti.images.vocabulary import TRUE_NAME, webdataset_ignores
from smalti.sources.folder.sidecar import check_field_names, class_names_bytes, field_rows, json_line
from smalti.sources.tar.tar import CLASS_NAMES_MEMBER
from smalti.storage.atomic import atomic_file, writing

__all__ = ["TarWriter", "key_of", "tar_file"]


class TarWriter:
    """Writes batches as members of a TAR stream; images may differ in shape and dtype.

    The key of an image is its name without the suffix of an image file and with `_` for the dots of its last part;
    a number where the name is taken already, is no safe path, or there is none. A name that cannot be told from the
    key (it is not KEY.png) is kept in the fields, as `__name__`.
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
            self._add(CLASS_NAMES_MEMBER, class_names_bytes(()))  # else they would be taken for classes
        for position, row in enumerate(field_rows(batch.fields, len(batch))):
            name = None if batch.names is None else batch.names[position]
            key = self._key(name)
            self._add(f"{key}.png", png_bytes(batch.pixels[position]))
            if batch.labels is not None:
                self._add(f"{key}.cls", str(int(batch.labels[position])).encode())
            renamed = {TRUE_NAME: name} if name not in (None, f"{key}.png") else {}
            if renamed or row:
                self._add(f"{key}.json", json_line(renamed | row))
            self._written += 1

    def finish(self) -> None:
        """Write the end of the stream: zeros up to a whole number of tar's records."""
        with writing(self._out):
            end = 2 * tarfile.BLOCKSIZE
            self._stream.write(bytes(end + -(self._bytes + end) % tarfile.RECORDSIZE))

    def _key(self, name: str | None) -> str:
        """A key that no image before had."""
        number = PurePosixPath(numbered_name(self._written, self._images, None)).stem
        if name is None:
            return number
        wanted = key_of(name) or number
        spare = (f"{wanted}_{extra}" for extra in chain([number], count(2)))
        key = next(key for key in chain([wanted], spare) if key not in self._keys)
        self._keys.add(key)
        return key

    def _add(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        # `tarfile.TarFile` would keep every member's description until the end
        head = member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        with writing(self._out):
            for part in (head, data, bytes(-len(data) % tarfile.BLOCKSIZE)):
                self._stream.write(part)
                self._bytes += len(part)


def key_of(name: str) -> str | None:
    """The key for an image of this name; None if the name is no safe path, or WebDataset would pass over it."""
    if not is_safe_name(name) or webdataset_ignores(name):
        return None
    path = PurePosixPath(name)
    stem = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
    return str(path.with_name(stem.replace(".", "_")))


@contextmanager
def tar_file(out: Path, spec: OutputSpec, overwrite: bool) -> Iterator[TarWriter]:
    """A writer whose TAR file is in place at the end of the `with` block; its suffix says how it is packed.

    Raises MissingDependencyError for .tar.zst without zstandard, and what `atomic_file` raises.
    """
    with atomic_file(out, overwrite=overwrite) as file:
        stream = _packing(file, out.name.lower())
        writer = TarWriter(stream, out, spec)
        yield writer
        writer.finish()
        if stream is not file:
            with writing(out):
                stream.close()


def _packing(file: BinaryIO, name: str) -> BinaryIO:
    """A stream that packs what is written to it into `file`, which closing it leaves open; or the file itself."""
    if name.endswith("gz"):
        return cast(BinaryIO, gzip.GzipFile("", "wb", 6, file, mtime=0))
    if not name.endswith("zst"):
        return file
    try:
        import zstandard  # noqa: PLC0415 (optional: only .zst needs it)
    except ImportError as error:
        raise MissingDependencyError.of("writing .tar.zst", "zstandard", "zstd") from error
    return cast(BinaryIO, zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False))
