"""The page-only readers and smalti refuse every file in conformance/must_refuse, as must_refuse.json says."""

import json
from copy import deepcopy
from pathlib import Path

import pytest

from conformance.make_must_refuse import FOLDER, RECORD, all_cases, verdict
from conformance.readers import BadArchiveError, read_members
from conformance.readers.mixtures import pixels_of
from conformance.readers.sections import MODEL, PRIOR
from conformance.readers.sized import SIZED
from conformance.refused import mixture_files, pixel_files
from conformance.refused.files import build, frames, sound, with_payload
from conformance.refused.networks import layers_of, pack_network, with_network
from conformance.refused.pixel_files import Numbers

RECORDED = json.loads(RECORD.read_text("utf-8"))
CASES = {f"{case.name}.smalti": case for case in all_cases()}
PAGES = Path(__file__).parents[2] / "docs"


def test_there_is_a_record_of_every_file():
    assert list(RECORDED) == list(CASES)
    assert sorted(RECORDED) == sorted(path.name for path in FOLDER.iterdir())


@pytest.mark.parametrize("name", RECORDED)
def test_a_file_is_refused(name):
    """Smalti and the readers each raise an error of their own; any other exception fails the test."""
    facts = RECORDED[name]
    assert verdict(FOLDER / name) == {key: facts[key] for key in ("when", "error", "exit_code")}
    with pytest.raises(BadArchiveError):
        read_members((FOLDER / name).read_bytes())


@pytest.mark.parametrize("name", RECORDED)
def test_a_file_is_made_of_a_sound_one(name):
    """Columns of texts are packed by zlib, whose bytes may differ on another machine."""
    case = CASES[name]
    assert name.startswith("column-") or (FOLDER / name).read_bytes() == case.data
    assert (case.base or None, case.reason) == (RECORDED[name]["base"], RECORDED[name]["reason"])


def test_every_reason_stands_on_its_page():
    headings = {
        page: {
            line.lstrip("#").strip() for line in (PAGES / page).read_text("utf-8").splitlines() if line.startswith("#")
        }
        for page in ("format.md", "collections.md")
    }
    assert {facts["section"] for facts in RECORDED.values() if facts["section"] not in headings[facts["page"]]} == set()


def test_the_encoder_of_these_files_is_right():
    """A network encoded again without changes gives the same pixels: so a file is refused for its change alone."""
    for name in ("grid", "wide"):
        data = with_network(pack_network(layers_of(name)), base=name)
        sound = (FOLDER.parent / "sound" / f"{name}.smalti").read_bytes()
        assert (read_members(data)[0].pixels == read_members(sound)[0].pixels).all() and data != sound


@pytest.mark.parametrize("name", ["pixels", "wide_pixels", "mixtures"])
def test_the_encoder_of_packed_numbers_is_right(name):
    numbers, payloads = Numbers(name), frames(sound(name))
    for kind, payload in ((MODEL, numbers.model_bytes()), (PRIOR, numbers.prior_bytes())):
        assert payload not in [each for _, _, each in payloads]
        payloads = with_payload(payloads, kind, lambda _, new=payload: new)
    found, expected = (read_members(data)[0].pixels for data in (build(payloads, SIZED), sound(name)))
    assert all((ours == theirs).all() for ours, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize(("base", "sums"), [("pixels", pixel_files.SUMS), ("mixtures", mixture_files.SUMS)])
def test_sums_that_are_just_exact_are_read(base, sums):
    """So the files whose sums are one more are refused for this alone."""
    for name, (change, _) in sums.items():
        numbers = Numbers(base)
        before = deepcopy((numbers.edges, numbers.networks))
        change(numbers)
        for old, new in zip(flat(before), flat((numbers.edges, numbers.networks)), strict=True):
            if old[0][old[1]] != new[0][new[1]]:
                new[0][new[1]] += 1 if new[0][new[1]] < 0 else -1
        if name != "sums-edges":
            pixels_of(numbers.model, numbers.prior_bytes(), numbers.header, 1)


def flat(value):
    """The places of all numbers in lists: each list of numbers with each index."""
    if value and isinstance(value[0], int):
        return [(value, index) for index in range(len(value))]
    return [place for each in value for place in flat(each)]
