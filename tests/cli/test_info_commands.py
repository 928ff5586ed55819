import struct

import pytest

from helpers.command_line import names
from smalti.archive.format.layout import PRELUDE_BYTES, crc32c

INFO_FIELDS = {
    "images", "shape", "dtype", "archive_bytes", "raw_bytes", "ratio", "bytes", "bits_per_pixel", "codebook_size",
    "codes_used", "perplexity", "break_even_images",
}  # fmt: skip
TEST_FIELDS = {
    "ok", "damaged_blocks", "damaged_images", "mse_mean", "mse_max", "ssim_mean", "psnr_db", "pixels_sha256",
    "first_100",
}  # fmt: skip


def test_info_has_the_fields_that_scripts_rely_on(smalti, archive):
    told = smalti("info", archive, "--json").json
    assert told.keys() >= INFO_FIELDS
    assert set(told["bytes"]) == {"header", "model", "prior", "tokens", "index", "columns"}
    assert sum(told["bytes"].values()) == told["archive_bytes"] == archive.stat().st_size
    assert (told["images"], told["shape"], told["dtype"]) == (64, [64, 28, 28], "uint8")
    assert (told["format_version"], told["decoder"], told["promise"], told["damage"]) == (1, "integer", None, [])
    assert told["recovery_bytes"] == 0
    assert told["raw_bytes"] == 64 * 784 and told["ratio"] == pytest.approx(64 * 784 / told["archive_bytes"])


def test_info_in_words(smalti, archive):
    ran = smalti("info", archive)
    assert ran.err == "" and "28 x 28" in ran.out and "break-even" in ran.out
    assert smalti("info", archive, "-q").out == ""


def test_test_measures_quality_and_compares_labels_and_names(smalti, archive, folder):
    told = smalti("test", archive, "--against", folder.path, "--json", "--threads", 1).json
    assert told.keys() >= INFO_FIELDS | TEST_FIELDS
    assert told["ok"] is True and told["damaged_blocks"] == [] and told["damaged_images"] == 0
    assert 0 < told["mse_mean"] <= told["mse_max"] and set(told["first_100"]) >= {"mse", "ssim"}
    assert told["labels_equal"] is told["names_equal"] is True
    alone = smalti("test", archive, "--json", "--threads", 1).json
    assert alone["ok"] is True and alone["pixels_sha256"] == told["pixels_sha256"]


def test_test_in_words(smalti, archive, folder):
    assert "ok: every checksum holds" in smalti("test", archive, "--threads", 1).out
    ran = smalti("test", archive, "--against", folder.path, "--threads", 1)
    assert "MSE" in ran.out and "labels equal, names equal" in ran.out


def test_levels_of_the_test(smalti, archive):
    quick, tokens, full = (
        smalti("test", archive, "--json", "--threads", 1, *options).json for options in (["--quick"], [], ["--full"])
    )
    assert [told["level"] for told in (quick, tokens, full)] == ["quick", "tokens", "pixels"]
    assert quick["ok"] and tokens["ok"] and full["ok"]
    assert quick["pixels_sha256"] is None and tokens["pixels_sha256"] == full["pixels_sha256"]
    assert "nothing else was checked" in smalti("test", archive, "--quick").out
    assert "decodes to the pixels that were written" in smalti("test", archive, "--full", "--threads", 1).out
    for other in (["--full"], ["--against", archive]):
        assert "--quick decodes nothing" in smalti.fails(2, "test", archive, "--quick", *other)


def test_a_newer_version_ends_with_5(smalti, archive, tmp_path):
    data = archive.read_bytes()
    head = struct.pack("<8sHHII", data[:8], 9, 0, 0, 0)
    path = tmp_path / "newer.smalti"
    path.write_bytes(head + crc32c(head).to_bytes(4, "little") + data[PRELUDE_BYTES:])
    for command in ("info", "test"):
        assert "version 9" in smalti.fails(5, command, path)
    assert "version 9" in smalti.fails(5, "decompress", path, "-o", tmp_path / "out")
    assert names(tmp_path) == ["newer.smalti"]


def test_what_is_no_archive_ends_with_1(smalti, tmp_path):
    (tmp_path / "text.smalti").write_text("hello, this is a text of some length, and no archive at all\n" * 9)
    (tmp_path / "empty.smalti").write_bytes(b"")
    for name in ("absent.smalti", "text.smalti", "empty.smalti", "."):
        assert smalti.fails(1, "info", tmp_path / name).count(str(tmp_path)) == 1


def test_other_originals_are_refused(smalti, archive, folder, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.png").write_bytes((folder.path / folder.names[0]).read_bytes())
    ran = smalti("test", archive, "--against", tmp_path / "one", "--threads", 1)
    assert ran.code == 1 and "64" in ran.err and ran.err.count("\n") == 1


def test_test_writes_a_page_of_pictures(smalti, archive, folder, tmp_path):
    page = tmp_path / "p.html"
    ran = smalti("test", archive, "--against", folder.path, "--page", page, "--threads", 1)
    assert ran.code == 0 and page.read_text("utf-8").count("<figure") == 12 + 10
    assert "exists already" in smalti.fails(6, "test", archive, "--against", folder.path, "--page", page)
    assert smalti("test", archive, "--against", folder.path, "--page", page, "-f", "--threads", 1).code == 0
    smalti.fails(2, "test", archive, "--against", folder.path, "--page", archive, "-f")
    assert "--against" in smalti.fails(2, "test", archive, "--page", tmp_path / "other.html")
