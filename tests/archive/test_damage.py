"""Whatever happens to a file, it is noticed: never a wrong image, never an exception that is not ours."""

import struct

import numpy as np
import pytest

from smalti.archive import open_archive
from smalti.archive.layout import FRAME_BYTES, PRELUDE_BYTES, TRAILER_BYTES, crc32c
from smalti.errors import DamagedArchiveError, LimitExceededError, SmaltiError, UnsupportedArchiveError


@pytest.fixture
def data(small):
    return small.path.read_bytes()


@pytest.fixture
def reopen(tmp_path):
    path = tmp_path / "changed.smalti"

    def write_and_open(content):
        path.write_bytes(content)
        return open_archive(path)

    return write_and_open


def read_all(archive):
    return archive[:], archive.tokens(), archive.labels, archive.names, archive.class_names


def assert_never_wrong(small, reopen, content):
    """Reading fails with an error of ours or gives what was written; True if `verify` or opening noticed."""
    try:
        archive = reopen(content)
    except SmaltiError as error:
        assert "\n" not in str(error) and "changed.smalti" in str(error)
        return True
    with archive:
        try:
            pixels, tokens, labels, names, class_names = read_all(archive)
        except SmaltiError as error:
            assert "\n" not in str(error) and "changed.smalti" in str(error)
        else:
            assert (pixels == small.pixels).all() and (tokens == small.tokens).all()
            assert (labels == small.labels).all() and (names, class_names) == (small.names, ("x", "y", "ζ"))
        return not archive.verify().ok


def test_every_flipped_byte_is_detected(small, reopen, data):
    for place in range(len(data)):
        change = 1 << place // 2 % 8 if place % 2 else 0xFF
        flipped = data[:place] + bytes([data[place] ^ change]) + data[place + 1 :]
        assert assert_never_wrong(small, reopen, flipped), f"byte {place} ^ {change:#x} went unnoticed"


def test_every_truncation_is_refused(reopen, data):
    for length in range(len(data)):
        with pytest.raises(SmaltiError, match=r"changed\.smalti"):
            reopen(data[:length])


@pytest.mark.parametrize("extra", [b"\0", b"\n", bytes(28), b"x" * 1000])
def test_appended_and_prepended_bytes_are_refused(reopen, data, extra):
    for content in (data + extra, extra + data):
        with pytest.raises(DamagedArchiveError):
            reopen(content)
    with pytest.raises(DamagedArchiveError):
        reopen(data + data)


def test_a_removed_or_doubled_stretch_is_never_a_wrong_image(small, reopen, data):
    rng = np.random.default_rng(0)
    for _ in range(60):
        start, stop = sorted(rng.integers(0, len(data), 2).tolist())
        assert_never_wrong(small, reopen, data[:start] + data[stop:])
        assert_never_wrong(small, reopen, data[:stop] + data[start:])
        swapped = bytearray(data)
        swapped[start:stop] = rng.bytes(stop - start)
        assert_never_wrong(small, reopen, bytes(swapped))


def test_text_mode_copies_are_refused(reopen, data):
    for content in (data.replace(b"\r\n", b"\n"), data.replace(b"\n", b"\r\n")):
        with pytest.raises(SmaltiError):
            reopen(content)


def with_prelude(data, version=0, required=0, optional=0):
    head = struct.pack("<8sHHII", data[:8], version, 0, required, optional)
    return head + crc32c(head).to_bytes(4, "little") + data[PRELUDE_BYTES:]


def test_another_version_is_refused_by_name(reopen, data):
    with pytest.raises(UnsupportedArchiveError, match="version 7"):
        reopen(with_prelude(data, version=7))


def test_a_required_feature_is_refused_by_name_and_an_optional_one_is_not(small, reopen, data):
    with pytest.raises(UnsupportedArchiveError, match="feature bit 3, 31"):
        reopen(with_prelude(data, required=1 << 3 | 1 << 31))
    with reopen(with_prelude(data, optional=0xFFFFFFFF)) as archive:
        assert (archive[3] == small.pixels[3]).all()


def rebuild(small, payload_of, type_of=lambda section: section, extra=()):
    """The small archive again with some payloads changed, all checksums right: what a hostile writer could make."""
    with open_archive(small.path) as archive:
        sections = [(entry.section, entry.ordinal, archive._file.read(entry)) for entry in archive._file.entries]
    content, index = small.path.read_bytes()[:PRELUDE_BYTES], b""
    for section, ordinal, payload in [*sections, *extra]:
        changed = payload_of(section, ordinal, payload)
        if changed is not None:
            place = (type_of(section), bytes(3), ordinal)
            index += struct.pack("<B3sIQQI", *place, len(content), len(changed), crc32c(changed))
            content += frame(place, changed)
    index = (len(index) // 28).to_bytes(4, "little") + index
    trailer = struct.pack("<QQ", len(content), len(content) + FRAME_BYTES + len(index) + TRAILER_BYTES)
    end = crc32c(trailer).to_bytes(4, "little") + small.path.read_bytes()[-8:]
    return content + frame((6, bytes(3), 0), index) + trailer + end


def frame(place, payload):
    head = struct.pack("<4sB3sIQI", b"\xf5SEC", *place, len(payload), crc32c(payload))
    return head + crc32c(head).to_bytes(4, "little") + payload


def unchanged(_section, _ordinal, payload):
    return payload


def replace(old, new, section=1):
    def payload_of(kind, _ordinal, payload):
        if kind != section:
            return payload
        assert old in payload
        return payload.replace(old, new)

    return payload_of


def test_rebuilding_changes_nothing_by_itself(small, data):
    assert rebuild(small, unchanged) == data


HEADERS = [
    (b'"images":50', b'"images":51'),
    (b'"images":50', b'"images":5e1'),
    (b'"images":50', b'"images": 50'),
    (b'"images":50', b'"images":50,"images":50'),
    (b'"images":50', b'"images":' + b"9" * 5000),
    (b'"images":50', b'"images":true'),
    (b'"images":50', b'"images":9000000000000000000'),
    (b'"block_images":20', b'"block_images":0'),
    (b'"block_images":20', b'"block_images":25'),
    (b'"codes_used":6', b'"codes_used":9'),
    (b'"codes_used":6', b'"codes_used":5'),
    (b'"codebook_size":8', b'"codebook_size":6'),
    (b'"image_shape":[7,11,1]', b'"image_shape":[9,11,1]'),
    (b'"image_shape":[7,11,1]', b'"image_shape":[7,11,2]'),
    (b'"image_shape":[7,11,1]', b'"image_shape":[7,11]'),
    (b'"token_grid":[2,3]', b'"token_grid":[2,4]'),
    (b'"token_grid":[2,3]', b'"token_grid":[[[[[[', ),
    (b'"perplexity":', b'"perplexity":NaN,"x":'),
    (b'"profile":"test"', b'"profile":"\xff"'),
    (b'"profile":"test"', b'"profilo":"test"'),
    (b'"provenance":{', b'"provenance":{"a":1,'),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), HEADERS)
def test_headers_that_contradict_the_file(small, reopen, old, new):
    with pytest.raises((DamagedArchiveError, LimitExceededError)), reopen(rebuild(small, replace(old, new))) as archive:
        read_all(archive)


def test_an_unknown_decoder_is_refused_by_name(small, reopen):
    with pytest.raises(UnsupportedArchiveError, match="study-int99"):
        reopen(rebuild(small, replace(b"study-float32", b"study-int99")))


def test_a_wrong_statistic_is_reported(small, reopen):
    with reopen(rebuild(small, replace(b'"perplexity":5.', b'"perplexity":4.'))) as archive:
        report = archive.verify()
    assert not report.ok and "perplexity" in report.damaged_sections[0] and report.damaged_images == 0


def test_blocks_in_each_others_places(small, reopen):
    with open_archive(small.path) as archive:
        payloads = [archive._file.read(archive._file.entry(4, block)) for block in range(3)]

    def swap(section, ordinal, payload):
        return payloads[1 - ordinal] if section == 4 and ordinal < 2 else payload

    with reopen(rebuild(small, swap)) as archive:
        with pytest.raises(DamagedArchiveError, match="not those of its place"):
            archive[0]
        assert (archive[45] == small.pixels[45]).all()
        assert archive.verify().damaged_images == 40


def test_other_tokens_under_a_right_checksum(small, reopen):
    """A block whose words decode well, to other tokens, as if the entropy coder had changed."""

    def flip(section, ordinal, payload):
        return payload[:12] + bytes([payload[12] ^ 1]) + payload[13:] if (section, ordinal) == (4, 0) else payload

    with reopen(rebuild(small, flip)) as archive, pytest.raises(DamagedArchiveError, match="after decoding"):
        archive[0]


@pytest.mark.parametrize("section", [1, 2, 3, 4])
def test_missing_sections(small, reopen, section):
    def drop(kind, ordinal, payload):
        return None if kind == section and ordinal == 0 else payload

    with pytest.raises(DamagedArchiveError):
        reopen(rebuild(small, drop))


def test_unknown_sections(small, reopen):
    with pytest.raises(UnsupportedArchiveError, match="type 77"):
        reopen(rebuild(small, unchanged, extra=[(77, 0, b"?")]))
    with reopen(rebuild(small, unchanged, extra=[(177, 0, b"?")])) as archive:
        assert (archive[:] == small.pixels).all() and archive.verify().ok


def test_a_damaged_column_is_not_an_absent_one(small, reopen):
    def spoil(section, ordinal, payload):
        return payload[:-3] if (section, ordinal) == (5, 2) else payload

    with reopen(rebuild(small, spoil)) as archive:
        assert (archive.labels == small.labels).all()
        with pytest.raises(DamagedArchiveError, match="column 2"):
            _ = archive.names
        report = archive.verify()
    assert report.damaged_sections[0].startswith("column 2") and report.damaged_images == 0


def test_a_damaged_model_costs_all_images(small, reopen, data):
    with open_archive(small.path) as archive:
        place = archive._file.entry(2).offset + 300
    with reopen(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]) as archive:
        with pytest.raises(DamagedArchiveError, match="model"):
            archive[0]
        report = archive.verify()
        assert (archive.labels == small.labels).all()
    assert (report.damaged_images, report.damaged_blocks) == (50, ())


MODELS = [
    (b'"name":"codebook","shape":[6,2]', b'"name":"codebook","shape":[2,6]'),
    (b'"name":"codebook","shape":[6,2]', b'"name":"codebook","shape":[6,3]'),
    (b'"name":"codebook","shape":[6,2]', b'"name":"codebook","shape":[0,2]'),
    (b'"name":"codebook","shape":[6,2]', b'"name":"codebook","shape":[4294967295,4294967295]'),
    (b'"name":"codebook"', b'"name":"nodebook"'),
    (b'"<u2"', b'"<u4"'),
    (b"\x01\x00\x02\x00\x03\x00", b"\x01\x00\x03\x00\x03\x00"),
    (b"\x05\x00\x06\x00", b"\x05\x00\x08\x00"),
]


@pytest.mark.parametrize(("old", "new"), MODELS)
def test_models_that_cannot_be(small, reopen, old, new):
    def payload_of(section, ordinal, payload):
        changed = replace(old, new, section=2)(section, ordinal, payload)
        if section == 2:
            table = changed.index(b"}]") + 2 - 4
            changed = table.to_bytes(4, "little") + changed[4:]
        return changed

    with pytest.raises(DamagedArchiveError, match="model"), reopen(rebuild(small, payload_of)) as archive:
        archive[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(small, reopen, bad):
    def payload_of(section, _ordinal, payload):
        return payload[:-4] + struct.pack("<f", bad) if section == 2 else payload

    with pytest.raises(DamagedArchiveError, match="not finite"), reopen(rebuild(small, payload_of)) as archive:
        archive[0]


@pytest.mark.filterwarnings("error")
def test_any_byte_changed_under_right_checksums_is_an_error_of_ours_or_readable(small, reopen):
    """What a hostile writer could do to any payload: the parsers stand alone, without the help of checksums."""
    with open_archive(small.path) as archive:
        lengths = [(entry.section, entry.ordinal, entry.payload_bytes) for entry in archive._file.entries]
    for section, ordinal, length in lengths:
        for place in range(0, length, 3):

            def change(kind, number, payload, at=(section, ordinal, place)):
                spot = at[2]
                if (kind, number) != at[:2]:
                    return payload
                return payload[:spot] + bytes([payload[spot] ^ (1 << spot % 8)]) + payload[spot + 1 :]

            try:
                with reopen(rebuild(small, change)) as archive:
                    pixels = archive[:]
                    assert pixels.dtype == np.uint8 and len(pixels) == len(archive)
                    assert archive.names is None or len(archive.names) == len(archive)
                    archive.verify()
            except SmaltiError as error:
                assert "\n" not in str(error)
