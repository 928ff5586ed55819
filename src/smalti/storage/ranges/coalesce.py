"""Which requests fetch many ranges of bytes, and how the answers become these ranges again."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

__all__ = ["GAP_BYTES", "REQUEST_BYTES", "Gathering", "requests_for"]

GAP_BYTES = 256 << 10
"""Two ranges no further apart are one request: the bytes between them take less time than another request."""

REQUEST_BYTES = 8 << 20
"""Longer stretches are cut, so that several requests fetch them at once and a failed one is soon repeated."""


def requests_for(
    ranges: Sequence[tuple[int, int]], gap_bytes: int = GAP_BYTES, request_bytes: int = REQUEST_BYTES
) -> list[range]:
    """The stretches to ask for: ascending, without overlap, none above `request_bytes`, and all `ranges` in them.

    ranges : (offset, length) in any order; they may overlap, and those of length 0 need nothing
    """
    stretches: list[tuple[int, int]] = []
    for start, stop in sorted((offset, offset + length) for offset, length in ranges if length > 0):
        if stretches and start - stretches[-1][1] <= gap_bytes:
            stretches[-1] = (stretches[-1][0], max(stretches[-1][1], stop))
        else:
            stretches.append((start, stop))
    return [
        range(begin, min(begin + request_bytes, stop))
        for start, stop in stretches
        for begin in range(start, stop, request_bytes)
    ]


class Gathering:
    """Ranges that are filled as answers come in, in any order, so that the bytes between ranges are not kept."""

    def __init__(self, ranges: Sequence[tuple[int, int]], requests: Sequence[range]) -> None:
        self._requests = requests
        self._parts = [bytearray(length) for _, length in ranges]
        self._wanted: list[list[tuple[int, int]]] = [[] for _ in requests]  # of each request: (range, its offset)
        starts = [request.start for request in requests]
        for number, (offset, length) in enumerate(ranges):
            place = bisect_right(starts, offset) - 1
            while length > 0 and place < len(requests) and requests[place].start < offset + length:
                self._wanted[place].append((number, offset))
                place += 1

    def deliver(self, place: int, answer: bytes) -> None:
        """Take the answer to a request."""
        request, view = self._requests[place], memoryview(answer)
        for number, offset in self._wanted[place]:
            part = self._parts[number]
            start, stop = max(request.start, offset), min(request.stop, offset + len(part))
            part[start - offset : stop - offset] = view[start - request.start : stop - request.start]

    def parts(self) -> Iterator[bytes]:
        """The bytes of each range, once; all answers must have been delivered."""
        for number, part in enumerate(self._parts):
            self._parts[number] = bytearray()
            yield bytes(part)
