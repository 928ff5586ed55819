"""Any damage to a file is noticed and stays local, and all that is served is what was written."""

import numpy as np
import pytest

from helpers.damaged_files import flip, frame, lost_images, outcome, rebuild, sections, told_outcome, unchanged
from smalti.archive.format.layout import FRAME_BYTES, PRELUDE_BYTES
from smalti.archive.read.reader import open_archive
from smalti.errors import DamagedArchiveError, SmaltiError

BLOCK = 20


@pytest.fixture(scope="module")
def data(small):
    return small.path.read_bytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "changed.smalti"


def places_of(made):
    """The byte range of each section by name, frames included."""
    return {entry.name: range(entry.offset, entry.end) for entry, _ in sections(made.path)}


@pytest.fixture(scope="module")
def places(small):
    return places_of(small)


def allowed(places, start, stop, images, block_images):
    """The most images that damage to these bytes may cost: a block for each block, all for the model."""
    touched = {name for name, place in places.items() if place.start < stop and start < place.stop}
    return images if "model" in touched else block_images * sum(name.startswith("token block") for name in touched)


def test_every_flipped_byte_is_detected_and_costs_one_block_at_most(tiny, path):
    data, places = tiny.path.read_bytes(), places_of(tiny)
    for place in range(len(data)):
        content = flip(data, place, 1 << place // 2 % 8 if place % 2 else 0xFF)
        noticed, lost = (told_outcome if place % 7 else outcome)(tiny, path, content)
        assert noticed, f"byte {place} went unnoticed"
        assert lost <= allowed(places, place, place + 1, 8, 3), f"byte {place} cost {lost} images"


def test_cut_and_inserted_bytes_cost_one_block_at_most(tiny, path):
    data, places = tiny.path.read_bytes(), places_of(tiny)
    for place in range(0, len(data), 6):
        cut, inserted = data[:place] + data[place + 1 :], data[:place] + b"\xf5" + data[place:]
        noticed, lost = outcome(tiny, path, cut if place % 12 else inserted)
        assert noticed and lost <= allowed(places, place, place + 1, 8, 3), place


def test_every_truncation_keeps_the_blocks_before_it(tiny, path):
    data, places = tiny.path.read_bytes(), places_of(tiny)
    blocks = [places[f"token block {number}"].stop for number in range(3)]
    for length in range(len(data)):
        noticed, lost = (told_outcome if length % 40 else outcome)(tiny, path, data[:length])
        left = 0 if length < places["prior"].stop else min(8, 3 * sum(end <= length for end in blocks))
        assert noticed and lost == 8 - left, length


def test_heads_copies_columns_index_and_ends_cost_no_image(tiny, path):
    data, places = tiny.path.read_bytes(), places_of(tiny)
    for name, place in places.items():
        head = range(place.start, place.start + FRAME_BYTES)
        assert outcome(tiny, path, flip(data, head[9]))[1] == 0, name
        if not name.startswith(("token block", "model")):
            assert outcome(tiny, path, flip(data, place[-1])) == (True, 0), name
    for place in (*range(PRELUDE_BYTES), *range(places["copy of the prior"].stop, len(data))):
        assert told_outcome(tiny, path, flip(data, place)) == (True, 0), place


@pytest.mark.parametrize("length", [30, 200])
def test_zeroed_cut_and_inserted_bytes_stay_where_they_are(small, path, data, places, length):
    rng = np.random.default_rng(length)
    for start in range(0, len(data), 61):
        stop = min(start + length, len(data))
        changed = {
            "zeroed": data[:start] + bytes(stop - start) + data[stop:],
            "cut": data[:start] + data[stop:],
            "inserted": data[:start] + rng.bytes(length) + data[start:],
            "repeated": data[:stop] + data[start:],
        }
        for how, content in changed.items():
            noticed, lost = outcome(small, path, content)
            assert noticed or content == data, f"{how} {start}:{stop}"
            end = start + 1 if how in ("inserted", "repeated") else stop
            assert lost <= allowed(places, start, end, 50, 20), f"{how} {start}:{stop} cost {lost} images"


def test_cut_at_the_front_the_copies_serve(small, path, data, places):
    """Header and prior are lost with the first bytes; the model is left."""
    with_model = data[places["model"].start :]
    assert outcome(small, path, with_model) == (True, 0)
    without_priors = data[: places["prior"].start] + data[places["prior"].stop : places["copy of the prior"].start]
    assert outcome(small, path, without_priors)[1] == 50


def test_bytes_cut_here_and_put_in_there_cost_what_they_hit(small, path, data, places):
    """The index is intact, and the sections are not at its offsets."""
    first, last = places["token block 0"], places["column 2"]
    for start, stop in ((first[40], last[60]), (last[60], first[40])):
        cut = data[:start] + data[start + 7 :]
        content = cut[:stop] + b"x" * 7 + cut[stop:]
        assert len(content) == len(data)
        noticed, lost = outcome(small, path, content)
        assert noticed and lost == BLOCK


@pytest.mark.parametrize("extra", [b"\0", b"\n", bytes(28), b"x" * 1000])
def test_appended_and_prepended_bytes_cost_nothing(small, path, data, extra):
    for content in (data + extra, extra + data, extra + data + extra, data + data):
        assert outcome(small, path, content) == (True, 0)


def test_parts_of_two_archives_are_refused(small, path, data):
    def renamed(section, _ordinal, payload):
        return payload.replace(b'"profile":"test"', b'"profile":"rest"') if section == 1 else payload

    other = rebuild(small.path, renamed)
    path.write_bytes(data + other)
    with pytest.raises(DamagedArchiveError, match="two archives"):
        open_archive(path)


def test_a_removed_or_doubled_byte_range_is_never_a_wrong_image(small, path, data):
    rng = np.random.default_rng(0)
    for _ in range(60):
        start, stop = sorted(rng.integers(0, len(data), 2).tolist())
        swapped = bytearray(data)
        swapped[start:stop] = rng.bytes(stop - start)
        for content in (data[:start] + data[stop:], data[:stop] + data[start:], bytes(swapped)):
            assert outcome(small, path, content)[0] or content == data


def test_text_mode_copies_are_noticed(small, path, data):
    for content in (data.replace(b"\r\n", b"\n"), data.replace(b"\n", b"\r\n")):
        assert outcome(small, path, content)[0]


def test_a_damaged_column_costs_itself_and_is_never_absent(small, path, data, places):
    path.write_bytes(flip(data, places["column 2"][-1]))
    with open_archive(path) as archive:
        assert (archive[:] == small.pixels).all() and (archive.labels == small.labels).all()
        with pytest.raises(DamagedArchiveError, match="column 2"):
            _ = archive.names
        assert archive.lost_columns == ("names",) and archive.info().columns == ("labels", "class_names", "names")
        report = archive.verify()
        assert lost_images(small, archive) == 0
    assert report.damaged_sections[0].startswith("column 2") and report.damaged_images == 0
    path.write_bytes(data[: places["column 2"].start])  # cut off with everything after it
    with open_archive(path) as archive:
        with pytest.raises(DamagedArchiveError, match="column 2: it is missing"):
            _ = archive.names
        assert (archive.labels == small.labels).all() and archive.damage


def test_a_damaged_model_costs_all_images_and_says_so(small, path, data, places):
    place = places["model"].start + 300
    for content in (flip(data, place), data[:place] + data[place + 1 :]):
        path.write_bytes(content)
        with open_archive(path) as archive:
            for reading in (lambda: archive[0], lambda: list(archive.batches(9, on_error="skip")), archive.tokens):
                with pytest.raises(DamagedArchiveError, match=r"model: .*no image can be decoded without it: get the"):
                    reading()
            report = archive.verify()
            assert (archive.labels == small.labels).all() and archive.names == small.names
        assert (report.damaged_images, report.damaged_blocks) == (50, ())
        assert "no image can be decoded" in report.damaged_sections[-1]


def test_recovery_sections_are_pointed_to(small, path, places):
    path.write_bytes(flip(rebuild(small.path, unchanged, extra=[(9, 0, b"?")]), places["model"].start + 300))
    with open_archive(path) as archive, pytest.raises(DamagedArchiveError, match="smalti repair may bring it back"):
        archive[0]


def test_a_wrong_digest_is_found_by_decoding_all(small, path):
    def other(section, _ordinal, payload):
        return bytes(32) if section == 8 else payload

    path.write_bytes(rebuild(small.path, other))
    with open_archive(path) as archive:
        assert archive.verify().ok
        report = archive.verify("pixels")
    assert report.damaged_sections == ("digest: it is not that of the decoded pixels",) and report.damaged_images == 0


def test_other_pixels_than_were_written_are_found_by_decoding_all(small, path):
    def other(section, ordinal, payload):
        return payload[:16] + bytes(4) + payload[20:] if (section, ordinal) == (4, 1) else payload

    path.write_bytes(rebuild(small.path, other))
    with open_archive(path) as archive:
        assert archive.verify().ok
        report = archive.verify("pixels")
    assert not report.ok and report.damaged_images == 20 and report.pixels_sha256 is None
    assert "its pixels are not those that were written" in report.damaged_blocks[0].reason


def test_quick_sees_heads_and_gaps_only(small, path, data, places):
    block = places["token block 1"]
    path.write_bytes(flip(data, block.start + 9))
    with open_archive(path) as archive:
        assert "token block 1: head" in archive.verify("quick").damaged_sections[0]
    path.write_bytes(flip(data, block[-1]))
    with open_archive(path) as archive:
        assert archive.verify("quick").ok and not archive.verify().ok
    path.write_bytes(data[: block.start] + data[block.stop :])
    with open_archive(path) as archive:
        report = archive.verify("quick")
    assert report.damaged_images == 20 and report.damaged_blocks[0].names == small.names[20:40]


def test_a_frame_inside_a_payload_is_not_taken_for_a_section(small, path, data):
    """A scan skips a token block inside the text of a column together with the frame of the column."""
    block = next(payload for entry, payload in sections(small.path) if entry.name == "token block 0")
    hidden = frame((4, bytes(3), 1), block)
    content = rebuild(small.path, unchanged, extra=[(200, 0, hidden)])
    assert outcome(small, path, content) == (False, 0)
    assert outcome(small, path, content[:-1]) == (True, 0)


def test_damage_of_any_kind_raises_errors_of_ours_alone(path):
    rng = np.random.default_rng(1)
    for length in (0, 1, 7, 8, 24, 28, 100, 5000):
        for start in (b"", b"\x89SML\r\n\x1a\n", b"\xf5SEC"):
            path.write_bytes(start + rng.bytes(length))
            with pytest.raises(SmaltiError):
                open_archive(path)
