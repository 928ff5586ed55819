"""Bits of a header, read one after the other, the lowest bit of each byte first."""

from collections.abc import Sequence

from smalti.imagefiles.format import UnreadableImageError

__all__ = ["Bits"]


class Bits:
    """The bits of some bytes. UnreadableImageError past their end."""

    def __init__(self, data: bytes) -> None:
        self._bits, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next bits as a number."""
        self._left -= count
        if self._left < 0:
            raise UnreadableImageError("damaged: cut off within its header")
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        return value

    def flag(self) -> bool:
        """Return the next bit."""
        return bool(self.take(1))

    def choice(self, kinds: Sequence[tuple[int, int]]) -> int:
        """Return a number in one of four ways, which two bits choose: so many bits, and what is added to them."""
        count, offset = kinds[self.take(2)]
        return self.take(count) + offset
