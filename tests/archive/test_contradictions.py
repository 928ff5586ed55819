"""Parts of a file that contradict each other, while each of them is intact (conformance/must_refuse)."""

from pathlib import Path

import numpy as np
import pytest

from smalti.archive.collection.open_collection import open_collection
from smalti.archive.format.limits import Limits
from smalti.archive.open import open_images
from smalti.archive.read.reader import open_archive, open_positioned
from smalti.archive.recovery.repair import repair_archive
from smalti.errors import DamagedArchiveError
from smalti.storage.positioned import MemoryFile

REFUSED = Path(__file__).parents[2] / "conformance" / "must_refuse"
SOUND = REFUSED.parent / "sound"


class FarStart(MemoryFile):
    """A file whose first bytes are not read on opening, like those of a URL."""

    def at_hand(self, offset, length):
        return offset > 0


def far(path):
    return FarStart(path.read_bytes(), path.name)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("column-rows", "labels"),
        ("column-rows-fewer", "labels"),
        ("column-labels-text", "labels"),
        ("column-rows-names", "names"),
        ("column-names-int", "names"),
    ],
)
@pytest.mark.parametrize("level", ["tokens", "pixels"])
def test_a_column_that_does_not_fit_the_images_costs_itself(name, column, level):
    with open_archive(REFUSED / f"{name}.smalti") as archive:
        report = archive.verify(level)
        assert not report.ok and not report.damaged_blocks and report.damaged_images == 0
        assert report.damaged_sections == (f"column {column} does not fit the 8 images",)
        assert archive.lost_columns == (column,)
        batches = list(archive.batches(3, on_error="skip"))
        assert sum(map(len, batches)) == 8 and all(getattr(batch, column) is None for batch in batches)


@pytest.mark.parametrize("features", [1, 2, 4])
def test_the_prelude_must_state_the_features_of_the_header(tmp_path, features):
    path = REFUSED / f"prelude-features-{features}.smalti"
    words = f"the prelude states required features {features}, the header 0"
    with open_archive(path) as archive, open_archive(SOUND / "grid.smalti") as sound:
        assert archive.damage == (words,) and archive.verify().damaged_sections == (words,)
        assert np.array_equal(archive[:], sound[:])
    with open_positioned(far(path)) as archive:
        assert archive.damage == () and archive.verify("quick").damaged_sections == (words,)
    report = repair_archive(path, tmp_path / "out.smalti")
    assert report.ok and report.repaired == ("prelude",)
    assert (tmp_path / "out.smalti").read_bytes() == (SOUND / "grid.smalti").read_bytes()


def test_a_member_must_state_its_features_twice():
    with open_images(REFUSED / "collection-member-features.smalti") as images:
        words = "member 0: the prelude states required features 4, the header 2"
        assert images.verify().damaged_sections == (words,)


@pytest.mark.parametrize("features", [0, 3])
def test_the_prelude_must_state_the_feature_of_a_collection(features):
    path = REFUSED / f"collection-prelude-{features}.smalti"
    words = f"the prelude states required features {features}, a collection needs 1"
    with open_images(path) as images:
        assert images.damage == (words,) and images.verify("quick").damaged_sections == (words,)
    with open_collection(far(path), Limits(), 1) as images:
        assert images.damage == () and images.verify("quick").damaged_sections == (words,)
    with open_collection(far(SOUND / "collection.smalti"), Limits(), 1) as images:
        assert images.verify("quick").ok


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tokens", "token block 0: sections of an archive are mixed with those of a collection"),
        ("directories", "index: directory is out of order"),
        ("features", "required_features is 3, not 1"),
    ],
)
def test_a_collection_holds_sections_of_collections_alone(name, words):
    with pytest.raises(DamagedArchiveError, match=words):
        open_images(REFUSED / f"collection-{name}.smalti")
