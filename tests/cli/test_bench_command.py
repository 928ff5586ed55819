import json
from dataclasses import replace

import pytest

from helpers.command_line import names
from smalti.bench import run
from smalti.bench.codecs import codecs_for

LADDERS = {"JPEG": (5.0, 90.0), "JPEG XL": (15.0, 10.0)}
FEW = tuple(replace(codec, ladder=LADDERS[codec.family]) for codec in codecs_for(1) if codec.family in LADDERS)


@pytest.fixture(autouse=True)
def few_codecs(monkeypatch):
    monkeypatch.setattr(run, "codecs_for", lambda channels: FEW)


def test_bench_tells_of_archives_and_codecs(smalti, folder, archive, tmp_path):
    out = tmp_path / "rate"
    ran = smalti("bench", folder.path, "-o", out, "--archive", archive, "--json")
    told = ran.json
    assert ran.code == 0 and "JPEG XL: 2 settings" in ran.err
    stem = folder.path.name
    assert names(out) == [f"{stem}.json", f"{stem}.md", f"{stem}.png"]
    assert told["reference"]["distance"] == 10 and told["reference"]["needs"][0]["name"] == "JPEG"
    assert set(told["matched"]) == {"digits"} and told["archives"][0]["mse"] == told["matched"]["digits"]["mse"]
    kept = json.loads((out / f"{stem}.json").read_text())
    assert kept == {name: told[name] for name in kept} and "smalti bench" in kept["command"]


def test_bench_in_words_and_again(smalti, folder, archive, tmp_path):
    smalti("bench", folder.path, "-o", tmp_path / "rate")
    ran = smalti("bench", folder.path, "-o", tmp_path / "rate", "--archive", archive, "--archive", archive)
    assert ran.code == 0 and "settings" not in ran.err
    assert "JPEG XL at distance 10: MSE" in ran.out and "digits: " in ran.out
    assert smalti("bench", folder.path, "-o", tmp_path / "rate", "-q").out == ""


def test_what_cannot_be_measured_is_one_line(smalti, folder, tmp_path):
    smalti.fails(1, "bench", tmp_path / "nothing", "-o", tmp_path / "rate")
    smalti.fails(1, "bench", folder.path, "-o", tmp_path / "rate", "-q", "--archive", tmp_path / "no.smalti")
