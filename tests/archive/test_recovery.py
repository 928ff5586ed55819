"""Recovery sections: their parity, and an archive with them."""

import random
import tracemalloc

import numpy as np
import pytest
import reedsolo
from hypothesis import given, settings
from hypothesis import strategies as st

from smalti.archive.format.layout import Entry, Section, crc32c
from smalti.archive.recovery import reed_solomon
from smalti.archive.recovery.parity import (
    ParityGroup,
    ParityMember,
    ParitySection,
    RecoveryBuilder,
    RecoverySpec,
    groups_of,
)
from smalti.archive.recovery.parity import restore_group as restore
from smalti.errors import DamagedArchiveError, UnsupportedArchiveError, UsageError


def build(spec, folder, payloads, section=Section.TOKENS):
    """Recovery sections of payloads of one type, packed and unpacked again."""
    with RecoveryBuilder(spec, folder) as builder:
        for number, payload in enumerate(payloads):
            builder.add(Entry(section, number, 0, len(payload), crc32c(payload)), payload)
        return [ParitySection.unpack(payload) for payload in builder.payloads()]


def group_of(sections, number, rows):
    mine = [section for section in sections if section.group == number]
    return ParityGroup(mine[0].spec, mine[0].members, {s.row: lambda s=s: s.parity for s in mine if s.row in rows})


@pytest.mark.parametrize("text", ["1/16", "1/1", "127/128", "254/1", "01/2"])
def test_specs(text):
    spec = RecoverySpec.parse(text)
    assert RecoverySpec.parse(str(spec)) == spec


@pytest.mark.parametrize(
    "text", ["", "1", "0/5", "5/0", "1/255", "-1/5", "1/5/2", "a/b", "1 /5", "1.0/2", "²/3", "1/9999"]
)
def test_specs_that_cannot_be(text):
    with pytest.raises(UsageError) as error:
        RecoverySpec.parse(text)
    assert "\n" not in str(error.value) and "recovery" in str(error.value)


def test_the_worked_examples_of_the_format(tmp_path):
    spec = RecoverySpec(2, 3)
    first = build(spec, tmp_path, [b"\x01", b"\x02", b"\x03"])
    assert [section.parity for section in first] == [b"\x04", b"\x04"]
    assert [section.parity for section in build(spec, tmp_path, [bytes([200]), b"\x07"])] == [bytes([89]), bytes([150])]
    member = b"\x04\0\0\0" + b"\0\0\0\0" + b"\x01" + bytes(7) + crc32c(b"\x01").to_bytes(4, "little")
    assert first[1].pack()[:32] == b"\x01\x03\x02\x01" + b"\0\0\0\0" + b"\x03\0\0\0" + member


def times(a, b):
    """The product of two elements of the field, bit by bit."""
    product = 0
    for bit in range(8):
        product ^= (a << bit) if b >> bit & 1 else 0
    for bit in range(14, 7, -1):
        product ^= (0x11D << (bit - 8)) if product >> bit & 1 else 0
    return product


@pytest.mark.parametrize("spec", [RecoverySpec(1, 1), RecoverySpec(3, 4), RecoverySpec(20, 30), RecoverySpec(1, 254)])
def test_words_are_multiples_of_the_generator(tmp_path, spec):
    """Parity as docs/format.md defines it, without the library."""
    payloads = [random.Random(number).randbytes(5) for number in range(spec.members)]
    parity = [section.parity for section in build(spec, tmp_path, payloads)]
    for column in range(5):
        root = 1
        for _ in range(spec.parity):
            value = 0
            for row in [*payloads, *parity]:
                value = times(value, root) ^ row[column]
            assert value == 0
            root = times(root, 2)


def test_the_library_decodes_what_is_written(tmp_path):
    spec = RecoverySpec(4, 9)
    payloads = [random.Random(number).randbytes(30) for number in range(9)]
    word = [*payloads, *(section.parity for section in build(spec, tmp_path, payloads))]
    for column in range(30):
        damaged = bytearray(row[column] for row in word)
        damaged[2] ^= 77
        damaged[8] ^= 1
        assert bytes(reedsolo.RSCodec(4).decode(damaged)[0]) == bytes(row[column] for row in payloads)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_losses_up_to_m_come_back(tmp_path_factory, data):
    spec = RecoverySpec(data.draw(st.integers(1, 6), "m"), data.draw(st.integers(1, 12), "n"))
    lengths = data.draw(st.lists(st.integers(0, 50), min_size=1, max_size=30), "lengths")
    payloads = [random.Random(number).randbytes(length) for number, length in enumerate(lengths)]
    sections = build(spec, tmp_path_factory.getbasetemp(), payloads)
    for number in range(-(-len(payloads) // spec.members)):
        rows = data.draw(st.sets(st.integers(0, spec.parity - 1)), "rows left")
        group = group_of(sections, number, rows)
        lost = data.draw(st.sets(st.sampled_from(group.members)), "lost")
        found = restore(group, lost, lambda member: payloads[member.ordinal])
        expected = {member: payloads[member.ordinal] for member in lost} if len(lost) <= len(rows) else {}
        assert found == expected


def test_large_codes(tmp_path):
    spec = RecoverySpec(100, 150)
    payloads = [random.Random(number).randbytes(9) for number in range(150)]
    group = group_of(build(spec, tmp_path, payloads), 0, range(100))
    lost = set(group.members[30:130])
    assert restore(group, lost, lambda member: payloads[member.ordinal]) == {m: payloads[m.ordinal] for m in lost}


def test_parity_of_other_sections_makes_nothing_up(tmp_path):
    spec, rng = RecoverySpec(2, 4), random.Random(0)
    right, wrong = ([rng.randbytes(20) for _ in range(4)] for _ in range(2))
    group = ParityGroup(
        spec,
        build(spec, tmp_path, right)[0].members,
        {s.row: lambda s=s: s.parity for s in build(spec, tmp_path, wrong)},
    )
    assert restore(group, set(group.members[:2]), lambda member: right[member.ordinal]) == {}


def test_groups_and_their_order(tmp_path):
    keys = [(1, 0), (2, 0), (3, 0), (7, 0), *((4, block) for block in range(5)), (5, 0), (5, 1), (8, 0), (1, 1), (3, 1)]
    expected = [
        ((1, 0), (2, 0), (3, 0)),
        ((7, 0), (5, 0), (5, 1)),
        ((8, 0),),
        ((4, 0), (4, 1), (4, 2)),
        ((4, 3), (4, 4)),
    ]
    spec = RecoverySpec(2, 3)
    assert groups_of([*keys, (9, 0), (6, 0), (200, 0)], spec) == expected
    with RecoveryBuilder(spec, tmp_path) as builder:
        for section, ordinal in keys:
            builder.add(Entry(section, ordinal, 0, 1, crc32c(b"x")), b"x")
        sections = [ParitySection.unpack(payload) for payload in builder.payloads()]
    assert [section.ordinal for section in sections] == list(range(10))
    assert [tuple(member.key for member in section.members) for section in sections[::2]] == expected
    assert list(tmp_path.iterdir()) == []


def test_payloads_that_cannot_be():
    good = ParitySection(RecoverySpec(2, 3), 7, 1, (ParityMember(4, 5, 2, 9), ParityMember(4, 6, 3, 9)), b"abc").pack()
    assert ParitySection.unpack(good).ordinal == 15
    with pytest.raises(UnsupportedArchiveError, match="code 2"):
        ParitySection.unpack(b"\x02" + good[1:])
    for bad in (
        b"", good[:11], good[:-1], good + b"x", good[:30],
        good[:1] + b"\0" + good[2:], good[:2] + b"\0" + good[3:], good[:3] + b"\x02" + good[4:],
        good[:2] + b"\xff" + good[3:], good[:8] + b"\0" + good[9:], good[:8] + b"\x04" + good[9:],
        good[:8] + b"\xff\xff\xff\xff" + good[12:], good[:13] + b"\x01" + good[14:],
        good[:20] + b"\xff" * 8 + good[28:],
    ):  # fmt: skip
        with pytest.raises(DamagedArchiveError):
            ParitySection.unpack(bad)


def test_memory_is_that_of_the_open_groups(tmp_path):
    """Memory holds two open groups, not the archive."""
    spec, payload = RecoverySpec(2, 16), bytes(100_000)
    reed_solomon.erasure_code(16, 2)
    tracemalloc.start()
    with RecoveryBuilder(spec, tmp_path) as builder:
        for number in range(500):
            builder.add(Entry(4, number, 0, len(payload), 0), payload)
        count = sum(1 for _ in builder.payloads())
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 2 * 32 and peak < 3_000_000


def test_mixtures_grow_with_the_longest():
    mixture = reed_solomon.Mixture(np.array([[1, 1, 1]], np.uint8))
    for place, section in enumerate((b"\x01", b"", b"\x02\x03")):
        mixture.add(place, section)
    mixture.add_to_row(0, b"\0\0\x09")
    assert mixture.rows() == [b"\x03\x03\x09"]
