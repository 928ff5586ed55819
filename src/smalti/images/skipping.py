"""What is passed over, refused: for those who want all of a source or nothing."""

from collections.abc import Sequence

from smalti.errors import SourceError
from smalti.images.batch import SkippedFile

__all__ = ["refuse_skipped", "skipped_words"]

_SHOWN = 3


def refuse_skipped(description: str, skipped: Sequence[SkippedFile]) -> None:
    """Raise SourceError, which names the first of them, if anything of a source was passed over."""
    if skipped:
        files = "1 file" if len(skipped) == 1 else f"{len(skipped):,} files"
        raise SourceError(
            f"{description}: {files} would be passed over ({skipped_words(skipped)}), which --strict refuses; mend or "
            "remove what is named, or leave it out"
        )


def skipped_words(skipped: Sequence[SkippedFile]) -> str:
    """The first of what was passed over, each with its reason, in one line."""
    more = "; ..." if len(skipped) > _SHOWN else ""
    return "; ".join(f"{file.name}: {file.reason}" for file in skipped[:_SHOWN]) + more
