"""Making recovery sections while an archive is written, without holding the sections themselves."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from smalti.archive.layout import Entry, Section
from smalti.archive.recovery.code import Mixture, erasure_code
from smalti.archive.recovery.parity import Member, ParitySection, RecoverySpec, is_member

__all__ = ["RecoveryBuilder"]


class RecoveryBuilder:
    """Takes every section as it is written, and gives the payloads of the recovery sections at the end.

    >>> with RecoveryBuilder(RecoverySpec.parse("1/16"), folder) as recovery:
    ...     recovery.add(entry, payload)                   # for each section, in file order
    ...     for payload in recovery.payloads(): ...        # in the order of the file

    Memory: for each of the two open groups, m times its longest section. Finished parity waits in a nameless
    temporary file in `folder`, which vanishes when this is closed.

    Raises MissingDependencyError if the extra `recovery` is not installed.
    """

    def __init__(self, spec: RecoverySpec, folder: Path) -> None:
        erasure_code(spec.members, spec.parity)
        self._spec = spec
        self._fixed = _Kind(spec, folder)
        self._blocks = _Kind(spec, folder)

    def __enter__(self) -> "RecoveryBuilder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fixed.close()
        self._blocks.close()

    def add(self, entry: Entry, payload: bytes) -> None:
        """Add a section; those that need no protection, such as copies, are passed over."""
        if is_member((entry.section, entry.ordinal)):
            kind = self._blocks if entry.section == Section.TOKENS else self._fixed
            kind.add(Member.of(entry), payload)

    def payloads(self) -> Iterator[bytes]:
        """The payloads of all recovery sections; nothing may be added after this."""
        group = 0
        for kind in (self._fixed, self._blocks):
            for members, rows in kind.groups():
                for row, parity in enumerate(rows):
                    yield ParitySection(self._spec, group, row, members, parity).pack()
                group += 1


class _Kind:
    """The groups of one kind of section: the open one in memory, the finished ones in a file."""

    def __init__(self, spec: RecoverySpec, folder: Path) -> None:
        self._spec = spec
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".smalti-")  # noqa: SIM115 (closed by close)
        self._finished: list[tuple[Member, ...]] = []
        self._start()

    def add(self, member: Member, payload: bytes) -> None:
        self._parity.add(len(self._members), payload)
        self._members.append(member)
        if len(self._members) == self._spec.members:
            self._finish()

    def groups(self) -> Iterator[tuple[tuple[Member, ...], list[bytes]]]:
        """The members and the parity rows of each group."""
        if self._members:
            self._finish()
        self._file.seek(0)
        for members in self._finished:
            longest = max(member.payload_bytes for member in members)
            yield members, [self._file.read(longest) for _ in range(self._spec.parity)]

    def close(self) -> None:
        self._file.close()

    def _start(self) -> None:
        self._members: list[Member] = []
        self._parity = Mixture(erasure_code(self._spec.members, self._spec.parity).generator)

    def _finish(self) -> None:
        self._file.writelines(self._parity.rows())
        self._finished.append(tuple(self._members))
        self._start()
