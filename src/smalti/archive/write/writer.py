"""Writing an archive: tokens are appended in batches, and the file appears whole on commit, or not at all."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from smalti.archive.write.assembly import Collected, write_archive
from smalti.archive.write.image_rows import ImageRows
from smalti.archive.write.spec import ArchiveSpec
from smalti.archive.write.token_spool import ResidualSpool, TokenSpool
from smalti.decoders.contract import Network, Prior
from smalti.decoders.kind import KINDS
from smalti.errors import UsageError
from smalti.images.batch import Fields
from smalti.residual.residuals import Residuals
from smalti.storage.atomic import atomic_file, check_output, writing

__all__ = ["ArchiveWriter"]


class ArchiveWriter:
    """Collects tokens, labels and names, and writes the archive on `commit`. Without `commit` nothing is written.

    >>> with ArchiveWriter("digits.smalti", spec, network) as writer:
    ...     writer.append(tokens, labels)
    ...     writer.commit()

    network : the decoder with all K codes. Codes that no token uses are not stored, unless it is a pyramid
    prior : for a pyramid, the prior made for it; for other networks None, since the prior is fitted on commit
    threads : the number of threads that decode pixels on commit, for checksums; the bytes do not depend on it

    Raises OutputExistsError at once if the file exists and `overwrite` is not given, OutputError if it cannot be
    written, UsageError if `network` does not fit `spec`.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        spec: ArchiveSpec,
        network: Network,
        overwrite: bool = False,
        threads: int = 1,
        prior: Prior | None = None,
    ) -> None:
        self._path, self._overwrite, self._threads = Path(path), overwrite, threads
        self._model = KINDS[network.kind].writing(spec.tokens, network, prior)
        self._spec = spec = spec.with_blocks(self._model.block_images)
        check_output(self._path, overwrite)
        self._rows = ImageRows()
        with writing(self._path):
            self._spool = TokenSpool(self._path, spec.token_grid[0] * spec.token_grid[1], spec.codebook_size)
            bounded = spec.max_mse is not None
            self._residuals = ResidualSpool(self._path, spec.image_shape, spec.decoded_type) if bounded else None
        self._open = True

    def __enter__(self) -> "ArchiveWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Discard what was collected. Does nothing after `commit`."""
        self._open = False
        self._spool.close()
        if self._residuals is not None:
            self._residuals.close()

    def append(
        self,
        tokens: NDArray[np.integer],
        labels: NDArray[np.integer] | None = None,
        names: Sequence[str] | None = None,
        residuals: Residuals | None = None,
        fields: Fields | None = None,
    ) -> None:
        """Add n images.

        tokens : integers [n, h, w], each in [0, K); for a pyramid [n, 1, T], codes of all levels or ABSENT
        labels : integers [n]; for all images of the archive or for none
        names : n strings; for all images or for none
        residuals : of these images, from the output of the exact decoder cropped to the images' size; None if no image
            needs any
        fields : further columns, by name, n values each; the same names each time

        Raises UsageError if shapes, ranges, or the presence of labels and names do not fit earlier batches. The writer
        is closed then, since half of a batch may not stay.
        """
        self._require_open()
        try:
            self._append(tokens, labels, names, residuals)
            if len(tokens):
                self._rows.add_fields(len(tokens), fields)
        except BaseException:
            self.close()
            raise

    def _append(
        self,
        tokens: NDArray[np.integer],
        labels: NDArray[np.integer] | None,
        names: Sequence[str] | None,
        residuals: Residuals | None,
    ) -> None:
        self._check_tokens(tokens)
        self._check_residuals(residuals, len(tokens))
        count = len(tokens)
        if not count:
            return
        self._rows.add(count, labels, names)
        with writing(self._path):
            self._spool.append(tokens.reshape(count, -1))
            if self._residuals is not None:
                self._residuals.append(residuals or self._no_residuals(count))

    def commit(self) -> None:
        """Write the archive. Until this returns, a file that was at the path before is still there."""
        self._require_open()
        if not self._spool.images:
            raise UsageError(f"{self._path}: there are no images to write")
        with atomic_file(self._path, overwrite=self._overwrite) as file, writing(self._path):
            collected = Collected(self._spec, self._model, self._spool, self._residuals, self._rows)
            write_archive(file, self._path, collected, self._threads)
        self.close()

    def _require_open(self) -> None:
        if not self._open:
            raise UsageError(f"{self._path}: this writer was closed already")

    def _check_tokens(self, tokens: NDArray[np.integer]) -> None:
        if tokens.ndim != 3 or tokens.shape[1:] != self._spec.token_grid or tokens.dtype.kind not in "iu":
            expected = ", ".join(["n", *map(str, self._spec.token_grid)])
            raise UsageError(f"tokens are {tokens.dtype} {list(tokens.shape)}, not integers [{expected}]")
        self._model.check(tokens.reshape(len(tokens), tokens.shape[1] * tokens.shape[2]))

    def _check_residuals(self, residuals: Residuals | None, images: int) -> None:
        if residuals is None:
            return
        if self._residuals is None:
            raise UsageError("residuals without an error bound: give max_mse in the spec")
        if residuals.symbols.dtype != self._spec.decoded_type:
            raise UsageError(f"residuals of {residuals.symbols.dtype} for pixels of {self._spec.decoded_type}")
        if len(residuals.modes) != images or residuals.symbols.shape[1:] != self._spec.image_shape:
            raise UsageError(
                f"residuals of {len(residuals.modes)} images {list(residuals.symbols.shape[1:])} for {images} "
                f"images {list(self._spec.image_shape)}"
            )

    def _no_residuals(self, images: int) -> Residuals:
        return Residuals.none(images, self._spec.image_shape, self._spec.decoded_type)
