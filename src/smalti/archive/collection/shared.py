"""The shared sections of an open collection, found by the SHA-256 that members name them by."""

import hashlib
import threading

from smalti.archive.positioned import Positioned
from smalti.errors import DamagedArchiveError

__all__ = ["SharedSections"]


class SharedSections:
    """Payloads by their SHA-256, read when one is first asked for; safe from several threads, and pickled by its file.

    places : offset and length in bytes of each payload
    """

    def __init__(self, file: Positioned, places: tuple[tuple[int, int], ...]) -> None:
        self._file, self._places = file, places
        self._lock = threading.Lock()
        self._payloads: dict[bytes, bytes] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return SharedSections, (self._file, self._places)

    def __call__(self, digest: bytes) -> bytes:
        """The payload of this SHA-256; DamagedArchiveError if no shared section has it."""
        with self._lock:
            if self._payloads is None:
                payloads = self._file.read_many(self._places)
                self._payloads = {hashlib.sha256(payload).digest(): payload for payload in payloads}
        if digest not in self._payloads:
            raise DamagedArchiveError("the model that it shares with others is damaged or missing")
        return self._payloads[digest]
