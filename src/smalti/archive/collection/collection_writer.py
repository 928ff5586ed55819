"""Writing archives as one collection. Their blocks are copied; a model that several archives have is stored once."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from smalti.archive.collection.directory import MemberFacts, collection_features, pack_directory
from smalti.archive.collection.sharing import model_reference, network_key, pack_shared, pack_shared_cells
from smalti.archive.edit.rewrite import recovery_spec, rewrite_archive
from smalti.archive.format.frames import FrameWriter
from smalti.archive.format.header import Header
from smalti.archive.format.layout import SHARED_MODEL, SHARED_PRIOR, Section, crc32c
from smalti.archive.read.reader import Archive
from smalti.archive.recovery.parity import Key
from smalti.decoders.contract import ImageModel, SharedModel
from smalti.errors import UsageError
from smalti.storage.atomic import atomic_file, writing
from smalti.storage.spool import spool_file

__all__ = ["Opener", "write_collection", "write_images"]

_CHUNK_BYTES = 1 << 20
_SHARED = SHARED_MODEL | SHARED_PRIOR

Opener = Callable[[], AbstractContextManager[Archive]]
"""Opens a member. It is closed soon after, so that thousands of members need few open files."""


def write_collection(out: Path, members: Sequence[Opener], *, overwrite: bool = False) -> None:
    """Write a collection of archives, in this order. It appears whole, or not at all.

    Raises UsageError for no members, DamagedArchiveError if a member is not intact, OutputExistsError, OutputError.
    """
    if not members:
        raise UsageError(f"{out}: a collection needs at least one archive")
    sharing = _Sharing(members)
    with atomic_file(out, overwrite=overwrite) as file, writing(out):
        frames = FrameWriter(file, collection_features(sharing.facts))
        for payload in sharing.payloads:
            frames.add(Section.SHARED, payload)
        for member, plan in zip(members, sharing.plans, strict=True):
            with member() as archive, spool_file(out) as spool:
                _write_member(archive, plan, spool, out)
                frames.add_chunks(Section.MEMBER, _chunks(spool), spool.tell(), _checksum(spool))
        frames.add(Section.DIRECTORY, pack_directory(sharing.facts))
        frames.finish()


def write_images(out: Path, members: Sequence[Opener], *, overwrite: bool = False) -> None:
    """Write a collection of archives, or the archive itself if there is one. The output appears whole, or not at all.

    Raises the errors of `write_collection`.
    """
    if len(members) != 1:
        write_collection(out, members, overwrite=overwrite)
        return
    with members[0]() as archive, atomic_file(out, overwrite=overwrite) as file, writing(out):
        _write_member(archive, _Plan(), file, out)


@dataclass(frozen=True)
class _Plan:
    """The payloads of a member that replace a shared model or prior; None if it is not shared."""

    model: bytes | None = None
    prior: bytes | None = None


@dataclass
class _Network:
    """A network: the members that have it, the header of the first of these, and the model that they share."""

    members: list[int]
    header: Header
    shared: SharedModel


class _Sharing:
    """Decides which models and priors are stored once.

    payloads : of the shared sections    plans, facts : of the members, in order
    """

    def __init__(self, members: Sequence[Opener]) -> None:
        self.payloads: list[bytes] = []
        self.plans = [_Plan() for _ in members]
        self.facts: list[MemberFacts] = []
        networks: dict[bytes, list[_Network]] = {}
        code_ids: dict[int, NDArray[np.uint16]] = {}
        cells: dict[bytes, list[int]] = {}
        priors: dict[bytes, list[int]] = {}
        for number, member in enumerate(members):
            with member() as archive:
                self.facts.append(MemberFacts.of(archive.sections.header))
                if recovery_spec(archive.sections) is not None:
                    continue  # its recovery sections protect the bytes of its own model
                header = archive.sections.header
                if archive.any_size:
                    cells.setdefault(pack_shared_cells(header, archive.cells.model), []).append(number)
                    priors.setdefault(archive.cells.prior.to_bytes(), []).append(number)
                    continue
                model = archive.model
                code_ids[number] = model.code_ids
                _join(networks.setdefault(network_key(header, model), []), number, header, model)
                if not header.has_own_prior:
                    priors.setdefault(archive.prior.to_bytes(), []).append(number)
        for network in (one for known in networks.values() for one in known if len(one.members) > 1):
            self._share_model(network, code_ids)
        for payload, numbers in cells.items():
            if len(numbers) > 1:
                self.payloads.append(payload)
                for number in numbers:
                    self.plans[number] = replace(self.plans[number], model=model_reference(payload, b""))
        for payload, numbers in priors.items():
            if len(numbers) > 1:
                self.payloads.append(payload)
                for number in numbers:
                    digest = hashlib.sha256(payload).digest()
                    self.plans[number] = replace(self.plans[number], prior=digest)

    def _share_model(self, network: _Network, code_ids: dict[int, NDArray[np.uint16]]) -> None:
        payload = pack_shared(network.header, network.shared.model)
        self.payloads.append(payload)
        for number in network.members:
            reference = model_reference(payload, network.shared.reference(code_ids[number]))
            self.plans[number] = replace(self.plans[number], model=reference)


def _join(known: list[_Network], number: int, header: Header, model: ImageModel) -> None:
    """Add a member to a network that has the same weights and codes, or start a network for it."""
    for network in known:
        if network.shared.add(model):
            network.members.append(number)
            return
    known.append(_Network([number], header, model.sharing()))


def _write_member(archive: Archive, plan: _Plan, spool: BinaryIO, out_path: Path) -> None:
    """Write a member as it is stored in the collection."""
    file = archive.sections
    features = file.header.required_features & ~_SHARED
    features |= SHARED_MODEL * (plan.model is not None) | SHARED_PRIOR * (plan.prior is not None)
    own = archive.cells if archive.any_size else archive
    replaced: dict[Key, bytes] = {
        (Section.MODEL, 0): plan.model or own.model.to_bytes(),
    }
    if not file.header.has_own_prior:
        prior = plan.prior or own.prior.to_bytes()
        replaced |= {(Section.PRIOR, ordinal): prior for ordinal in range(file.header.priors)}
    header = replace(file.header, required_features=features)
    if recovery_spec(file) is not None:
        replaced = {}
    rewrite_archive(file, spool, out_path, header=header, replaced=replaced)


def _chunks(spool: BinaryIO) -> Iterator[bytes]:
    spool.seek(0)
    while chunk := spool.read(_CHUNK_BYTES):
        yield chunk


def _checksum(spool: BinaryIO) -> int:
    checksum = 0
    for chunk in _chunks(spool):
        checksum = crc32c(chunk, checksum)
    return checksum
