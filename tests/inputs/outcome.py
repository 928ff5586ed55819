"""The outcome of a case: reads it with smalti, and compares with the outcome that it must have."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inputs.case import Group, Made
from smalti.errors import SmaltiError
from smalti.images.batch import ImageBatch
from smalti.images.source import ImageSource
from smalti.sources.open import open_groups

_BATCH_IMAGES = 3  # so that most sources come in several batches, of which the last is shorter


@dataclass(frozen=True)
class Outcome:
    """The outcome of an input: groups of images and skipped entries, or the line of an error.

    skipped : (name, reason), in the order of `ImageSource.skipped`
    """

    groups: Sequence[Group]
    skipped: Sequence[tuple[str, str]]
    error: str | None


def outcome_of(made: Made, root: Path) -> Outcome:
    """Open and read all images. An exception that is not smalti's is no outcome, and is raised."""
    try:
        sources = open_groups(made.spec)  # type: ignore[arg-type]
        groups = [_read(source) for source in sources]
    except SmaltiError as error:
        return Outcome((), (), _without_location(str(error), root))
    skipped = [(file.name, _without_location(file.reason, root)) for source in sources for file in source.skipped]
    return Outcome(groups, skipped, None)


def _read(source: ImageSource) -> Group:
    batch = ImageBatch.joined(list(source.batches(_BATCH_IMAGES)))
    assert (batch.pixels.shape[1:], batch.pixels.dtype) == (source.image_shape, source.dtype)
    labels = None if batch.labels is None else batch.labels.tolist()
    return Group(batch.pixels, labels, source.class_names, batch.names, batch.fields)


def _without_location(text: str, root: Path) -> str:
    """Remove the temporary folder, and the port of the test's server."""
    text = text.replace(f"{root}/", "").replace(str(root), "FOLDER")
    return re.sub(r"127\.0\.0\.1:\d+", "host", text)


def assert_expected(outcome: Outcome, made: Made) -> None:
    """Compare an outcome with the expected one: pixels, dtypes and order exactly, reasons by their words."""
    assert (outcome.error is None) == (made.error is None), outcome.error
    if made.error is not None and outcome.error is not None:
        assert made.error in outcome.error and "\n" not in outcome.error
    assert {name for name, _ in outcome.skipped} == made.skipped.keys()
    assert len(outcome.skipped) == len(made.skipped)
    for name, reason in outcome.skipped:
        assert made.skipped[name] in reason and "\n" not in reason, (name, reason)
    assert len(outcome.groups) == len(made.groups)
    for found, expected in zip(outcome.groups, made.groups, strict=True):
        assert found.pixels.dtype == expected.pixels.dtype
        np.testing.assert_array_equal(found.pixels, expected.pixels)
        assert found.labels == (None if expected.labels is None else list(expected.labels))
        assert _columns(found) == _columns(expected)


def _columns(group: Group) -> dict[str, object]:
    fields = {name: [(type(value), value) for value in values] for name, values in group.fields.items()}
    class_names, names = (None if some is None else list(some) for some in (group.class_names, group.names))
    return {"class names": class_names, "names": names, "fields": fields}
