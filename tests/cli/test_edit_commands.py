import shutil
import tempfile

import numpy as np
import pytest

from smalti.archive.open import open_images


@pytest.fixture(name="mine")
def _mine(archive, tmp_path):
    """A copy of the archive of digits, for changes."""
    return shutil.copy(archive, tmp_path / "mine.smalti")


def test_merge_and_info(smalti, archive, mine, tmp_path):
    both = tmp_path / "both.smalti"
    ran = smalti("merge", archive, mine, "-o", both, "--json")
    with open_images(archive) as alone, open_images(both) as whole:
        assert ran.code == 0 and ran.json["images"] == 2 * len(alone) == len(whole)
        assert np.array_equal(whole[len(alone) :], alone[:]) and whole.class_names == alone.class_names
    info = smalti("info", both).out
    assert "2 archives" in info and "members" in info
    assert smalti("test", both, "--full").code == 0
    smalti.fails(6, "merge", archive, mine, "-o", both)


def test_merge_to_a_manifest(smalti, mine, tmp_path):
    manifest = tmp_path / "all.smalti-manifest"
    assert smalti("merge", mine, mine, "-o", manifest).code == 0
    assert smalti("test", manifest).code == 0
    out = tmp_path / "out"
    assert smalti("get", manifest, 0, 3, "-o", out).code == 0 and len(list(out.rglob("*.png"))) == 2
    assert "is a manifest" in smalti.fails(2, "drop", manifest, 0)


def test_append_images_and_an_archive(smalti, folder, model_path, archive, mine):
    assert "--model" in smalti.fails(2, "append", mine, folder.path)
    assert smalti("append", mine, folder.path, "--model", model_path, "-q", "--threads", 1).code == 0
    assert smalti("append", mine, archive, "-q").code == 0
    with open_images(archive) as before, open_images(mine) as after:
        assert len(after) == 3 * len(before) and after.labels.tolist() == 3 * before.labels.tolist()
        assert all(np.array_equal(after[part], before[0]) for part in (0, len(before), 2 * len(before)))
        info = after.info()
    assert info.bytes.model < 2 * smalti("info", archive, "--json").json["bytes"]["model"]


def test_what_is_appended_is_made_beside_the_archive(smalti, folder, model_path, mine, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))
    assert smalti("append", mine, folder.path, "--model", model_path, "-q", "--threads", 1).code == 0
    assert [each.name for each in tmp_path.iterdir()] == ["mine.smalti"]


def test_drop_by_number_and_by_name(smalti, mine):
    with open_images(mine) as archive:
        names = archive.names
    assert smalti("drop", mine, 0, names[2]).code == 0
    with open_images(mine) as archive:
        assert archive.names == (names[1], *names[3:])
    assert "no image called" in smalti.fails(2, "drop", mine, "nowhere.png")
    assert "does not exist" in smalti.fails(2, "drop", mine, 100_000)


def test_relabel_some_and_all(smalti, mine, tmp_path):
    with open_images(mine) as archive:
        count, classes, names = len(archive), archive.class_names, archive.names
    assert smalti("relabel", mine, f"0={classes[1]}", f"{names[1]}=blurred").code == 0
    with open_images(mine) as archive:
        assert archive.labels[:2].tolist() == [1, len(classes)] and archive.class_names == (*classes, "blurred")
    np.save(tmp_path / "labels.npy", np.arange(count))
    assert smalti("relabel", mine, "--labels", tmp_path / "labels.npy", "-o", tmp_path / "new.smalti").code == 0
    with open_images(tmp_path / "new.smalti") as archive:
        assert archive.labels.tolist() == list(range(count))
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    assert "2 values of labels" in smalti.fails(2, "relabel", mine, "--labels", tmp_path / "labels.txt")
    assert "IMAGE=LABEL" in smalti.fails(2, "relabel", mine, "17")
    smalti.fails(2, "relabel", mine)


def test_append_knows_an_archive_whatever_it_is_called(smalti, archive, mine, tmp_path):
    """Before: the suffix .smalti alone decided; for a manifest, which can be appended, a model was required."""
    manifest, odd = tmp_path / "all.smalti-manifest", shutil.copy(archive, tmp_path / "digits.bin")
    with open_images(archive) as opened:
        images = len(opened)
    assert smalti("merge", shutil.copy(archive, tmp_path / "part.smalti"), "-o", manifest).code == 0
    assert smalti("append", mine, manifest, "-q").code == 0
    assert smalti("append", mine, odd, "-q").code == 0
    with open_images(mine) as after:
        assert len(after) == 3 * images
