"""The page-only readers and smalti refuse every file in conformance/must_refuse, as must_refuse.json says."""

import json
from pathlib import Path

import pytest

from conformance.make_must_refuse import FOLDER, RECORD, all_cases, verdict
from conformance.readers import BadArchiveError, read_members
from conformance.refused.networks import layers_of, pack_network, with_network

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
