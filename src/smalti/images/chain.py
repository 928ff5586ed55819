"""Several sources read one after the other as one, and the whole of a source in memory."""

from collections.abc import Iterator, Sequence

from smalti.errors import SourceError
from smalti.images.batch import ImageBatch, SkippedFile
from smalti.images.source import ImageSource

__all__ = ["ChainedSource", "read_images"]


class ChainedSource:
    """The images of several sources of one shape, in order.

    Labels and names are there only if every part has them; the class names are those of the first part.
    """

    def __init__(self, description: str, parts: Sequence[ImageSource]) -> None:
        shapes = [part.image_shape for part in parts]
        if len(set(shapes)) != 1:
            raise SourceError(f"{description}: parts have images of different shapes: {shapes}")
        self.description = description
        self.image_shape = shapes[0]
        self.class_names = parts[0].class_names
        self._parts = tuple(parts)

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """The files passed over in any part."""
        return tuple(file for part in self._parts for file in part.skipped)

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def batches(self, batch_images: int) -> Iterator[ImageBatch]:
        """Yield every image once, in order; a batch may reach from one part into the next."""
        pending: list[ImageBatch] = []
        missing = batch_images
        for part in self._parts:
            for batch in part.batches(batch_images):
                head, tail = batch.part(0, missing), batch.part(missing, len(batch))
                pending.append(head)
                missing -= len(head)
                if missing == 0:
                    yield ImageBatch.joined(pending)
                    pending, missing = [], batch_images
                    if len(tail):
                        pending, missing = [tail], batch_images - len(tail)
        if pending:
            yield ImageBatch.joined(pending)


def read_images(source: ImageSource, limit: int | None = None) -> ImageBatch:
    """All images of a source, or the first `limit`, in memory as one batch. SourceError if there are none."""
    parts: list[ImageBatch] = []
    missing = len(source) if limit is None else min(limit, len(source))
    for batch in source.batches(min(4096, max(1, missing))):
        parts.append(batch.part(0, missing))
        missing -= len(parts[-1])
        if missing <= 0:
            break
    if not parts or not len(parts[0]):
        raise SourceError(f"{source.description}: no image could be read")
    return ImageBatch.joined(parts)
