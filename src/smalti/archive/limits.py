"""How much a file may ask for before anything is allocated."""

from dataclasses import dataclass, fields

from smalti.errors import LimitExceededError, UsageError

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Caps on what an archive may make its reader allocate; raise one with Limits(name=value).

    header_bytes : the header, and the table of the model
    index_bytes : the index
    model_bytes : the stored decoder and codebook
    prior_bytes : the stored prior
    column_bytes : one column, stored or unpacked
    block_bytes : one token block, stored or unpacked (2 bytes per token)
    image_bytes : the pixels of one image, padding included
    request_bytes : the pixels of one request, such as archive[:]
    expansion : raw bytes of all images per byte of the file
    """

    header_bytes: int = 1 << 20
    index_bytes: int = 1 << 28
    model_bytes: int = 1 << 30
    prior_bytes: int = 1 << 28
    column_bytes: int = 1 << 30
    block_bytes: int = 1 << 28
    image_bytes: int = 1 << 28
    request_bytes: int = 1 << 34
    expansion: int = 10_000_000

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise UsageError(f"limit {field.name} must be at least 1")

    def check(self, limit: str, asked: int, what: str) -> None:
        """Raise LimitExceededError if `asked` is above the limit of this name; `what` says what asks for it."""
        allowed: int = getattr(self, limit)
        if asked > allowed:
            raise LimitExceededError(
                f"{what} asks for {asked}, the limit {limit} is {allowed}: if you trust the file, raise it with "
                f"Limits({limit}={asked})"
            )
