"""The sets that peers are measured on, as far as they need no package: photographs and their crops."""

import numpy as np
import pytest
from PIL import Image

from benchmarks import sets
from helpers.image_files import noise
from smalti.sources.open import open_groups


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(noise(30, 40, 3, seed=number)).save(folder / f"BloodImage_{number:05}.jpg")
    rows = [
        "file_name,cell,xmin,ymin,xmax,ymax",
        "BloodImage_00001.jpg,RBC,5,6,15,18",
        "BloodImage_00000.jpg,WBC,0,0,9,8",
    ]
    rows += ["BloodImage_00001.jpg,RBC,7,7,7,9", "BloodImage_00001.jpg,Platelets,30,20,99,31"]
    (folder / "boxes.csv").write_text("\n".join(rows) + "\n", "utf-8")
    return folder


def test_photographs_are_the_files_as_they_are(photos, tmp_path, monkeypatch):
    assert sets.make("blood-cells", photos, tmp_path / "all")["files"] == 3
    for path in photos.glob("*.jpg"):
        assert (tmp_path / "all" / path.name).read_bytes() == path.read_bytes()
    monkeypatch.setitem(sets.SETS, "few", lambda photos, folder: sets.blood_cells(photos, folder, 2))
    sets.make("few", photos, tmp_path / "few")
    assert sorted(path.name for path in (tmp_path / "few").iterdir()) == [
        "BloodImage_00000.jpg",
        "BloodImage_00001.jpg",
    ]
    assert sum(len(group) for group in open_groups(tmp_path / "all")) == 3


def test_crops_are_the_pixels_of_the_boxes(photos, tmp_path):
    told = sets.make("blood-crops", photos, tmp_path / "crops")
    found = {path.name: np.asarray(Image.open(path)) for path in (tmp_path / "crops").iterdir()}
    assert told["files"] == len(found) == 3, "an empty box is left out"
    first, second = (np.asarray(Image.open(photos / f"BloodImage_0000{number}.jpg")) for number in (0, 1))
    np.testing.assert_array_equal(found["BloodImage_00000-000-WBC.png"], first[:8, :9])
    np.testing.assert_array_equal(found["BloodImage_00001-000-RBC.png"], second[6:18, 5:15])
    np.testing.assert_array_equal(found["BloodImage_00001-002-Platelets.png"], second[20:, 30:])


def test_a_set_that_fails_leaves_nothing(photos, tmp_path):
    with pytest.raises(SystemExit, match="--photos"):
        sets.make("blood-cells", tmp_path / "empty", tmp_path / "out")
    (tmp_path / "there").mkdir()
    with pytest.raises(SystemExit, match="already"):
        sets.make("blood-cells", photos, tmp_path / "there")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "there"]
