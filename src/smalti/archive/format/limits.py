"""Limits on what a file may make its reader allocate, checked before anything is allocated."""

from dataclasses import dataclass, fields

from smalti.errors import LimitExceededError, UsageError

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Limits on what an archive may make its reader allocate. Raise one with Limits(name=value).

    header_bytes : the header, and the head of a column
    index_bytes : the index, and 28 bytes for each section that a scan finds, or for each block that sizes imply
    model_bytes : the decoder network and its codes, stored and unpacked
    prior_bytes : the stored prior
    corrections_bytes : the stored tables of the residuals ("corrections")
    column_bytes : one column, stored or unpacked; the table of sizes, with 16 bytes for each image and each region
    block_bytes : one token block stored, its tokens unpacked (2 bytes each), and the memory in which they are decoded
    corrected_bytes : the pixels of a token block, if any image has residuals
    image_bytes : the pixels of one image, padding included; if images have any sizes, those of a token block, and those
        of an image that is read whole
    network_operations : products and sums that one image takes in the decoder network; if images have any sizes, one
        token block
    request_bytes : the pixels of one request, such as archive[:]
    expansion : raw bytes of all images per byte of the file
    """

    header_bytes: int = 1 << 20
    index_bytes: int = 1 << 24
    model_bytes: int = 1 << 28
    prior_bytes: int = 1 << 28
    corrections_bytes: int = 1 << 28
    column_bytes: int = 1 << 30
    block_bytes: int = 1 << 28
    corrected_bytes: int = 1 << 28
    image_bytes: int = 1 << 29
    network_operations: int = 1 << 40
    request_bytes: int = 1 << 34
    expansion: int = 10_000_000

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise UsageError(f"limit {field.name} must be at least 1")

    def check(self, limit: str, asked: int, what: str) -> None:
        """Raise LimitExceededError if `asked` is above the named limit. what : names in the message what asks for it"""
        allowed: int = getattr(self, limit)
        if asked > allowed:
            raise LimitExceededError(
                f"{what} asks for {asked}, the limit {limit} is {allowed}: if you trust the file, raise it with "
                f"Limits({limit}={asked})"
            )
