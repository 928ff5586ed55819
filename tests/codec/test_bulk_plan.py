import json
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

import smalti
from helpers.bulk_plans import planned
from smalti.archive.recovery.parity import RecoverySpec
from smalti.codec.bulk.plan import Plan, Shard, SourcePart, make_plan, read_plan, write_plan
from smalti.codec.request import FitRequest, PackOptions
from smalti.errors import ModelError, OutputExistsError, SmaltiError, SourceError, UsageError
from smalti.sources.folder.folder import FolderRecords


@pytest.fixture(scope="module")
def model_path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "digits.smalti-model"
    model.save(path)
    return path


def test_borders_cover_all_entries_in_order(folder, model_path, tmp_path):
    plan = read_plan(planned(folder.path, model_path, tmp_path, 25))
    assert plan.shards == (Shard(0, 0, 25), Shard(0, 25, 50), Shard(0, 50, 64))
    assert (plan.kind, plan.entries, plan.parts[0].files) == ("folder", 64, ())
    assert plan.source == str(folder.path) and plan.smalti == smalti.__version__


def test_a_plan_is_the_same_each_time_and_reads_back(folder, model_path, tmp_path):
    options = PackOptions(labels=False, max_mse=0.01, recovery=RecoverySpec.parse("1/4"), block_images=16)
    plan = make_plan(str(folder.path), model_path, tmp_path / "out", 7, options=options)
    assert plan.to_bytes() == make_plan(str(folder.path), model_path, tmp_path / "out", 7, options=options).to_bytes()
    assert Plan.from_bytes(plan.to_bytes()) == plan


def test_planning_reads_no_image(folder, model_path, tmp_path, monkeypatch):
    def refuse(*arguments, **more):
        raise AssertionError("an image was asked for")

    monkeypatch.setattr(FolderRecords, "read", refuse)
    assert read_plan(planned(folder.path, model_path, tmp_path)).entries == 64


def test_listings_differ_with_names_and_sizes(folder, model_path, tmp_path):
    shutil.copytree(folder.path, tmp_path / "photos")
    before = make_plan(str(tmp_path / "photos"), model_path, tmp_path, 10).parts[0]
    some = tmp_path / "photos" / folder.names[3]
    some.write_bytes(some.read_bytes() + b"\0")
    longer = make_plan(str(tmp_path / "photos"), model_path, tmp_path, 10).parts[0]
    assert before.entries == longer.entries == 64 and before.listing_sha256 != longer.listing_sha256
    some.rename(some.with_name("other.png"))
    renamed = make_plan(str(tmp_path / "photos"), model_path, tmp_path, 10).parts[0]
    assert renamed.listing_sha256 not in (before.listing_sha256, longer.listing_sha256)


def write_tars(folder, counts, images):
    """Write TAR files. counts : the images of each"""
    folder.mkdir()
    at = 0
    for number, count in enumerate(counts):
        with tarfile.open(folder / f"{number}.tar", "w") as tar:
            for index in range(at, at + count):
                Image.fromarray(images[index]).save(folder.parent / "one.png")
                tar.add(folder.parent / "one.png", f"{index:03}.png")
        at += count
    return folder


def test_by_file_shards_end_where_files_end(digits, model_path, tmp_path):
    tars = write_tars(tmp_path / "tars", (4, 5, 3, 0, 23, 2), digits.images)
    plan = make_plan(str(tars), model_path, tmp_path, 10, by_file=True)
    assert [part.files for part in plan.parts] == [("0.tar", "1.tar"), ("2.tar",), ("4.tar",), ("5.tar",)]
    assert [part.entries for part in plan.parts] == [9, 3, 23, 2]
    assert [(shard.part, shard.start, shard.stop) for shard in plan.shards] == [
        (0, 0, 9),
        (1, 0, 3),
        (2, 0, 8),  # a file of more than a shard is cut evenly
        (2, 8, 16),
        (2, 16, 23),
        (3, 0, 2),
    ]
    pattern = make_plan(str(tars / "*.tar"), model_path, tmp_path, 10, by_file=True)
    assert [part.entries for part in pattern.parts] == [9, 3, 23, 2]
    assert pattern.parts[1].files == (str(tars / "2.tar"),)
    assert make_plan(str(tars), model_path, tmp_path, 10).entries == 37


def test_what_cannot_be_planned_is_one_line(folder, model_path, tmp_path):
    def plan(source=folder.path, model=model_path, images=5, **more):
        return make_plan(str(source), model, tmp_path / "out", images, **more)

    with pytest.raises(ModelError, match="smalti fit SAMPLE"):
        plan(model=tmp_path / "none")
    with pytest.raises(UsageError, match="at least 1"):
        plan(images=0)
    with pytest.raises(UsageError, match="leave --by-file out"):
        plan(by_file=True)
    with pytest.raises(UsageError, match="leave --effort out"):
        plan(request=FitRequest(effort=3))
    with pytest.raises(SourceError, match="nowhere"):
        plan(source=tmp_path / "nowhere")
    np.save(tmp_path / "others.npy", np.zeros((3, 5, 5), np.uint8))
    with pytest.raises(SourceError, match="model's shape"):
        plan(source=tmp_path / "others.npy")


def test_a_plan_that_is_none_is_refused(folder, model_path, tmp_path):
    path = planned(folder.path, model_path, tmp_path, 25)
    with pytest.raises(OutputExistsError):
        write_plan(read_plan(path), path)
    good = json.loads(path.read_bytes())

    def changed(**fields):
        path.write_bytes(json.dumps(good | fields, sort_keys=True, separators=(",", ":")).encode() + b"\n")
        return path

    for fields, words in [
        ({"shards": [[0, 0, 25], [0, 26, 64]]}, "does not follow"),
        ({"shards": [[0, 0, 25]]}, "no shard"),
        ({"shards": [[0, 0, 65]]}, "outside"),
        ({"shards": [["0", 0, 64]]}, "no sound plan"),
        ({"parts": []}, "no sound plan"),
        ({"settings": {"colour": 3}}, "no sound plan"),
        ({"version": 2}, "reads version 1"),
        ({"format": "letter"}, "does not say"),
        ({"smalti": "0.0.9"}, "plan anew"),
        ({"model": 5}, "wrong type"),
    ]:
        with pytest.raises(SmaltiError, match=words):
            read_plan(changed(**fields))
    path.write_bytes(b"{}x")
    with pytest.raises(SmaltiError, match="canonical"):
        read_plan(path)
    with pytest.raises(SmaltiError, match="cannot be read"):
        read_plan(tmp_path / "none")


def test_parts_are_what_was_there():
    part = SourcePart((), 3, "00")
    with pytest.raises(ValueError, match="does not follow"):
        Plan("a", "file", "m", "0", "o", FitRequest(), PackOptions(), (part, part), (Shard(0, 0, 2), Shard(1, 0, 3)))


def test_requests_are_stored_and_bytes_of_older_plans_stay():
    request, options = FitRequest(effort=2, target_mse=0.01), PackOptions(labels=False, strict=True)
    part = SourcePart((), 3, "00")
    plan = Plan("a", "file", "m", "0", "o", request, options, (part,), (Shard(0, 0, 3),))
    assert Plan.from_bytes(plan.to_bytes()) == plan
    older = Plan("a", "file", "m", "0", "o", FitRequest(effort=2), PackOptions(max_mse=0.5), (part,), (Shard(0, 0, 3),))
    assert older.to_bytes() == (
        b'{"format":"smalti-plan","kind":"file","model":"m","model_sha256":"0","out_folder":"o",'
        b'"parts":[{"entries":3,"files":[],"listing_sha256":"00"}],'
        b'"settings":{"effort":2,"labels":true,"max_mse":0.5,"recovery":null},'
        b'"shards":[[0,0,3]],"smalti":"%s","source":"a","version":1}\n' % smalti.__version__.encode()
    )
    assert Plan.from_bytes(older.to_bytes()) == older
