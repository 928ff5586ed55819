"""Arguments that the functions of `smalti` share. Layer: part of `front`."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from smalti.images.batch import Pixels

if TYPE_CHECKING:
    from smalti.sources.tables.dataset_object import DatasetObject

__all__ = ["Images", "PathText", "Progress", "progress_of"]

PathText = str | PathLike[str]
Images: TypeAlias = "str | Path | Pixels | DatasetObject"
Progress = Callable[[str, int, int], None]
"""Called as `progress(stage, done, total)`: `done` of `total` steps of a stage are done."""


def progress_of(stage: str, progress: Progress | None) -> Callable[[int, int], None]:
    """Return a function of (done, total) that calls `progress` for one stage, if there is one."""

    def on_step(done: int, total: int) -> None:
        if progress is not None:
            progress(stage, done, total)

    return on_step
