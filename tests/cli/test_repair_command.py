import numpy as np
import pytest

from helpers.command_line import names
from helpers.damaged_files import scanned
from smalti.archive.format.layout import FRAME_BYTES, Section
from smalti.archive.read.reader import open_archive
from smalti.errors import DamagedArchiveError


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """An archive of 30 images in 3 blocks, without recovery sections."""
    from helpers.made_up_archives import random_network, random_tokens, write  # noqa: PLC0415 (a package beside this one)

    path = tmp_path_factory.mktemp("archives") / "a.smalti"
    return write(path, random_tokens(30), random_network(), labels=np.arange(30), block_images=10)


def broken(path, out, *keys):
    data = bytearray(path.read_bytes())
    for entry in scanned(path.read_bytes()).sound:
        if (entry.section, entry.ordinal) in keys:
            data[entry.offset + FRAME_BYTES] ^= 1
    out.write_bytes(data)
    return out


def test_a_sound_archive(smalti, plain, tmp_path):
    ran = smalti("repair", plain, "-o", tmp_path / "out")
    assert ran.code == 0 and ran.err == "" and "is sound" in ran.out and ran.out.count("\n") == 1
    assert (tmp_path / "out").read_bytes() == plain.read_bytes()
    assert smalti("repair", plain, "-o", tmp_path / "out", "-q", "-f").out == ""
    assert "-f" in smalti.fails(6, "repair", plain, "-o", tmp_path / "out")


def test_a_damaged_archive_in_its_place(smalti, plain, tmp_path):
    bad = broken(plain, tmp_path / "bad", (Section.PRIOR, 0), (Section.INDEX, 0))
    ran = smalti("repair", bad, "-o", bad, "-f", "--json")
    assert ran.code == 0 and ran.json == {
        "archive": str(bad), "output": str(bad), "ok": True, "written": True, "repaired": ["prior", "index"],
        "lost": [], "lost_images": [], "images": 30, "images_lost": 0, "recovery_lost": False,
    }  # fmt: skip
    assert bad.read_bytes() == plain.read_bytes() and names(tmp_path) == ["bad"]


def test_what_stays_lost(smalti, plain, tmp_path):
    bad = broken(plain, tmp_path / "bad", (Section.TOKENS, 1), (Section.TOKENS, 2), (Section.COLUMN, 0))
    ran = smalti("repair", bad, "-o", tmp_path / "out")
    assert ran.code == 4 and ran.err.count("\n") == 1 and names(tmp_path) == ["bad"]
    assert "token block 1, token block 2, column 0 lost; 20 of 30 images are lost (10 to 29)" in ran.err
    assert "nothing was written: --partial writes the rest" in ran.err
    ran = smalti("repair", bad, "-o", tmp_path / "out", "--partial", "--json")
    assert ran.code == 4 and ran.json["lost_images"] == [{"first": 10, "last": 29}] and ran.json["written"]
    assert ran.json["lost"] == ["token block 1", "token block 2", "column 0"] and not ran.json["ok"]
    with open_archive(tmp_path / "out") as archive, open_archive(plain) as whole:
        assert (archive[:10] == whole[:10]).all()
        with pytest.raises(DamagedArchiveError, match="images 10 to 19"):
            archive[10]


def test_a_model_that_is_lost(smalti, plain, tmp_path):
    ran = smalti("repair", broken(plain, tmp_path / "bad", (Section.MODEL, 0)), "-o", tmp_path / "out")
    assert ran.code == 4 and "model lost; 30 of 30 images are lost; nothing was written" in ran.err


def test_what_is_no_archive(smalti, plain, tmp_path):
    (tmp_path / "text").write_text("no archive")
    assert "not a smalti archive" in smalti.fails(1, "repair", tmp_path / "text", "-o", tmp_path / "out")
    bad = broken(plain, tmp_path / "bad", (Section.HEADER, 0), (Section.HEADER, 1))
    assert "both headers are lost" in smalti.fails(4, "repair", bad, "-o", tmp_path / "out")
    assert names(tmp_path) == ["bad", "text"]
