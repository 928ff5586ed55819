import io
import os
import shutil
import signal
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import smalti
from helpers.bulk_plans import planned, shard_hashes
from helpers.tiny_pyramids import pyramid_settings, quick_fits
from smalti.codec.bulk import engines
from smalti.codec.bulk.engines import make_here, make_on_ray
from smalti.codec.bulk.plan import read_plan
from smalti.codec.bulk.running import Task, run_plan
from smalti.codec.bulk.shards import ShardFolder, ShardMaker
from smalti.codec.fit import fit_source
from smalti.codec.pack import pack
from smalti.codec.request import FitRequest, PackOptions
from smalti.errors import MissingDependencyError, OutputExistsError, SmaltiError, UsageError
from smalti.sources.open import open_source


@pytest.fixture(scope="module")
def model_path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "digits.smalti-model"
    model.save(path)
    return path


@pytest.fixture
def plan(folder, model_path, tmp_path):
    """A plan of eight shards of eight digits."""
    return planned(folder.path, model_path, tmp_path, 8)


@pytest.fixture(scope="module")
def hashes(folder, model_path, tmp_path_factory):
    """Hashes of the shards of such a plan, made one by one. Records name the plan, and a plan its own paths."""
    where = tmp_path_factory.mktemp("expected")
    run_plan(planned(folder.path, model_path, where, 8), engine=make_here)
    return {name: digest for name, digest in shard_hashes(where / "shards").items() if not name.endswith(".json")}


def of_archives(path):
    return {name: digest for name, digest in shard_hashes(path).items() if not name.endswith(".json")}


def test_shards_hold_the_images_as_one_archive_would(plan, folder, model, tmp_path):
    report = run_plan(plan, engine=make_here)
    assert (report.shards, report.done, report.made_now, report.images) == (8, 8, 8, 64)
    assert (report.failures, report.skipped) == (
        (),
        (),
    ) and report.manifest == tmp_path / "shards/manifest.smalti-manifest"
    pack(open_source(folder.path), tmp_path / "one.smalti", model)
    with smalti.open(report.manifest) as shards, smalti.open(tmp_path / "one.smalti") as one:
        np.testing.assert_array_equal(shards[:], one[:])
        np.testing.assert_array_equal(shards.labels, one.labels)
        assert shards.names == one.names and shards.class_names == one.class_names and len(shards.members) == 8
    sizes = sum((tmp_path / "shards" / f"shard-{number:05}.smalti").stat().st_size for number in range(8))
    assert report.archive_bytes == sizes


def test_tasks_in_any_order_give_the_same_bytes(plan, hashes, tmp_path):
    for task in (Task(2, 3), Task(0, 3), Task(1, 3)):
        report = run_plan(plan, engine=make_here, task=task)
        assert report.done == report.made_now == len(task.shards(read_plan(plan)))
        assert (report.manifest is None) == (task.number != 1)
    assert of_archives(tmp_path / "shards") == hashes


def test_only_what_is_missing_or_damaged_is_made_again(plan, hashes, tmp_path):
    run_plan(plan, engine=make_here)
    shards = tmp_path / "shards"
    before = shard_hashes(shards)
    times = {path.name: path.stat().st_mtime_ns for path in shards.iterdir()}
    assert run_plan(plan, engine=make_here).made_now == 0
    (shards / "shard-00001.smalti").unlink()
    (shards / "shard-00002.json").unlink()
    (shards / "shard-00003.json").write_bytes(b"{")
    damaged = bytearray((shards / "shard-00004.smalti").read_bytes())
    damaged[1000] ^= 1
    (shards / "shard-00004.smalti").write_bytes(damaged)
    with (shards / "shard-00005.smalti").open("ab") as file:
        file.write(b"more")
    (shards / "manifest.smalti-manifest").unlink()
    report = run_plan(plan, engine=make_here)
    assert (report.done, report.made_now) == (8, 5) and shard_hashes(shards) == before
    for number in (0, 6, 7):
        name = f"shard-{number:05}.smalti"
        assert (shards / name).stat().st_mtime_ns == times[name]


def broken_copy(folder, where):
    """The folder, with a broken image, one with truncated pixels, one of another shape, and a text."""
    shutil.copytree(folder.path, where)
    Image.fromarray(np.zeros((5, 6, 3), np.uint8)).save(where / "digit 0" / "zz.png")
    (where / "digit 1" / "zz.png").write_bytes(b"no image")
    cut = next(iter(sorted((where / "digit 2").iterdir())))
    cut.write_bytes(cut.read_bytes()[:-40])
    (where / "notes.txt").write_text("what these are")
    return where, cut


def test_skipped_entries_are_reported_each_time(folder, model_path, tmp_path):
    source, cut = broken_copy(folder, tmp_path / "photos")
    plan = planned(source, model_path, tmp_path, 9)
    for _ in range(2):
        report = run_plan(plan, engine=make_here)
        told = {file.name: file.reason for _, file in report.skipped}
        assert set(told) == {"notes.txt", "digit 0/zz.png", "digit 1/zz.png", f"digit 2/{cut.name}"}
        assert told["digit 0/zz.png"] == "5x6 RGB; the model takes 28x28 L"
        assert len(report.skipped) == 4 and report.images == 63 and report.done == report.shards == 8
    with smalti.open(report.manifest) as shards:
        assert len(shards) == 63
    strict = run_plan(plan, engine=make_here, strict=True)
    assert {failure.shard for failure in strict.failures} == {shard for shard, _ in report.skipped}
    assert all("--strict" in failure.reason for failure in strict.failures)
    shutil.rmtree(tmp_path / "shards")
    assert run_plan(plan, engine=make_here, strict=True).failures
    assert not (tmp_path / "shards" / "shard-00000.smalti").exists()


def test_a_shard_without_any_image_is_done_and_not_listed(digits, model_path, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(6):
        Image.fromarray(digits.images[number]).save(photos / f"{number}.png")
    for number in (2, 3):  # headers that promise an image, and none behind
        whole = (photos / f"{number}.png").read_bytes()
        (photos / f"{number}.png").write_bytes(whole[:60])
    (photos / "4.png").write_bytes(b"")
    (photos / "5.png").write_bytes(b"")
    plan = planned(photos, model_path, tmp_path, 2)
    report = run_plan(plan, engine=make_here)
    assert (report.done, report.images, len(report.skipped)) == (3, 2, 4)
    assert sorted(path.name for path in (tmp_path / "shards").glob("*.smalti")) == ["shard-00000.smalti"]
    with smalti.open(report.manifest) as shards:
        assert len(shards.members) == 1


def test_a_shard_that_fails_leaves_the_others(plan, hashes, tmp_path, monkeypatch):
    def making(self, number, make=ShardMaker._make):
        if number == 3:
            raise ZeroDivisionError("three")
        return make(self, number)

    monkeypatch.setattr(ShardMaker, "_make", making)
    report = run_plan(plan, engine=make_here)
    assert (report.done, report.manifest) == (7, None)
    assert [(failure.shard, "three" in failure.reason) for failure in report.failures] == [(3, True)]
    monkeypatch.undo()
    assert run_plan(plan, engine=make_here).made_now == 1 and of_archives(tmp_path / "shards") == hashes


def test_a_source_or_a_model_that_changed_is_refused(folder, model_path, tmp_path):
    shutil.copytree(folder.path, tmp_path / "photos")
    shutil.copy(model_path, tmp_path / "model")
    plan = planned(tmp_path / "photos", tmp_path / "model", tmp_path, 32)
    some = tmp_path / "photos" / folder.names[0]
    some.write_bytes(some.read_bytes() + b"\0")
    assert all("other names or sizes" in failure.reason for failure in run_plan(plan, engine=make_here).failures)
    some.unlink()
    assert "63 entries, not 64" in run_plan(plan, engine=make_here).failures[0].reason
    shutil.copy(folder.path / folder.names[0], some)
    with (tmp_path / "model").open("ab") as file:
        file.write(b"\0")
    assert all("model" in failure.reason for failure in run_plan(plan, engine=make_here).failures)
    shutil.copy(model_path, tmp_path / "model")
    assert run_plan(plan, engine=make_here).done == 2


def test_a_folder_belongs_to_one_plan(plan, folder, model_path, tmp_path):
    run_plan(plan, engine=make_here, task=Task(0, 8))
    (tmp_path / "b").mkdir()
    other = planned(folder.path, model_path, tmp_path / "b", 32, options=PackOptions(labels=False))
    text = other.read_text().replace(str(tmp_path / "b" / "shards"), str(tmp_path / "shards"))
    other.write_text(text)
    with pytest.raises(OutputExistsError, match="another plan"):
        run_plan(other, engine=make_here)
    (tmp_path / "shards" / "manifest.smalti-manifest").write_bytes(b"of the other plan")
    assert run_plan(other, engine=make_here, overwrite=True, task=Task(0, 2)).made_now == 1
    assert not (tmp_path / "shards" / "manifest.smalti-manifest").exists()
    assert run_plan(other, engine=make_here).made_now == 1


def test_tasks_are_numbered_from_0(plan):
    found = [list(Task(number, 3).shards(read_plan(plan))) for number in range(3)]
    assert [number for some in found for number in some] == list(range(8)) and max(map(len, found)) - min(
        map(len, found)
    ) <= 1
    assert list(Task(8, 9).shards(read_plan(plan))) == [7] and list(Task(0, 9).shards(read_plan(plan))) == []
    for text in ("8", "1/1", "a/b", "-1/2", "1/0", "0/0"):
        with pytest.raises(UsageError):
            Task.parse(text)


def test_rows_of_arrays_and_files_by_files(digits, model_path, model, tmp_path):
    np.savez(tmp_path / "tiles.npz", images=digits.images, labels=digits.labels)
    report = run_plan(planned(tmp_path / "tiles.npz", model_path, tmp_path, 30), engine=make_here)
    with smalti.open(report.manifest) as shards:
        np.testing.assert_array_equal(shards.labels, digits.labels)
        expected = shards[:]
    pq, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    (tmp_path / "data").mkdir()
    for part in range(4):
        rows = []
        for index in range(16 * part, 16 * part + 16):
            Image.fromarray(digits.images[index]).save(tmp_path / "one.png")
            rows.append({"image": {"bytes": (tmp_path / "one.png").read_bytes(), "path": f"{index}.png"}, "label": 1})
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data" / f"train-{part:05}-of-00004.parquet")
    (tmp_path / "by_file").mkdir()
    plan = planned(tmp_path / "data", model_path, tmp_path / "by_file", 40, by_file=True)
    assert [len(part.files) for part in read_plan(plan).parts] == [2, 2]
    report = run_plan(plan, engine=make_here)
    with smalti.open(report.manifest) as shards:
        np.testing.assert_array_equal(shards[:], expected)
        assert shards.names[20] == "20.png" and set(shards.fields["split"]) == {"train"}


class Killing:
    """Kills workers of a pool: the first that works while another has finished, or all that get a shard."""

    def __init__(self, monkeypatch, always=None):
        self.started = started = []
        self.killed = killed = []

        class Worker(engines._Worker):
            def __init__(self, *arguments):
                super().__init__(*arguments)
                started.append(self)

            def kill(self):
                os.kill(self._process.pid, signal.SIGKILL)
                killed.append(self.shard)

            def give(self, number):
                super().give(number)
                if number == always:
                    self.kill()

            def outcome(self):
                found = super().outcome()
                busy = [worker for worker in started if worker is not self and worker.shard is not None]
                if found is not None and busy and not killed and always is None:
                    busy[0].kill()
                return found

        monkeypatch.setattr(engines, "_Worker", Worker)


def test_a_dead_worker_is_replaced_and_its_shard_made(plan, hashes, tmp_path, monkeypatch):
    killing, done = Killing(monkeypatch), []
    report = run_plan(plan, workers=2, progress=lambda *numbers: done.append(numbers))
    assert len(killing.killed) == 1 and len(killing.started) == 3
    assert report.made_now == 8 and not report.failures and done == [(number, 8) for number in range(9)]
    assert of_archives(tmp_path / "shards") == hashes


def test_a_shard_that_kills_its_workers_is_given_up(plan, tmp_path, monkeypatch):
    run_plan(plan, engine=make_here, task=Task(0, 2))
    killing = Killing(monkeypatch, always=6)
    report = run_plan(plan, workers=1)
    assert killing.killed == [6, 6, 6] and (report.done, report.manifest) == (7, None)
    assert [failure.shard for failure in report.failures] == [6]
    assert "3 workers died at it" in report.failures[0].reason and "signal 9" in report.failures[0].reason


def test_two_runs_at_once_do_not_disturb_each_other(plan, hashes, tmp_path):
    reports = []
    runs = [threading.Thread(target=lambda: reports.append(run_plan(plan, engine=make_here))) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [report.done for report in reports] == [8, 8] and of_archives(tmp_path / "shards") == hashes
    assert sorted(path.suffix for path in (tmp_path / "shards").iterdir()) == sorted(
        [".json"] * 9 + [".smalti"] * 8 + [".smalti-manifest"]
    )


def actors():
    """Return the processes of Ray actors that this process started."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "cmdline").read_bytes().startswith(b"ray::ShardMaker"):
                parent = int(folder.name)
                while parent not in (0, 1, os.getpid()):
                    parent = int((Path("/proc") / str(parent) / "stat").read_text().rpartition(")")[2].split()[1])
                found += [int(folder.name)] if parent == os.getpid() else []
        except OSError:  # it ended meanwhile
            continue
    return found


def test_ray_gives_the_same_bytes_though_an_actor_is_killed(plan, hashes, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="needs the extra smalti[ray]")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    killed = []

    def kill_one(done, total):
        if done == 2:
            killed.append(actors()[0])
            os.kill(killed[0], signal.SIGKILL)

    report = run_plan(plan, engine=make_on_ray, workers=2, progress=kill_one)
    assert killed and not ray.is_initialized()
    assert report.done == report.made_now == 8 and of_archives(tmp_path / "shards") == hashes


def test_ray_is_optional(plan, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "smalti\[ray\]"'):
        run_plan(plan, engine=make_on_ray)


def test_shards_of_a_pyramid_do_not_depend_on_each_other(digits, tmp_path):
    np.save(tmp_path / "small.npy", digits.images[:24, 6:22, 6:22])
    with pytest.MonkeyPatch.context() as patch:
        quick_fits(patch, steps=20)
        fit_source(open_source(tmp_path / "small.npy"), pyramid_settings(codes=8)).save(tmp_path / "model")
    plan = planned(
        tmp_path / "small.npy", tmp_path / "model", tmp_path, 8, FitRequest(effort=1), PackOptions(max_mse=0.05)
    )
    assert run_plan(plan, engine=make_here).images == 24
    expected = shard_hashes(tmp_path / "shards")
    shutil.rmtree(tmp_path / "shards")
    for number in (2, 0, 1):  # each by a worker of its own
        assert run_plan(plan, engine=make_here, task=Task(number, 3)).made_now == 1
    assert shard_hashes(tmp_path / "shards") == expected


def test_files_behind_urls(digits, model_path, tmp_path):
    fsspec = pytest.importorskip("fsspec", reason="needs the extra smalti[remote]")
    for part in range(3):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for index in range(5 * part, 5 * part + 5):
                data = io.BytesIO()
                Image.fromarray(digits.images[index]).save(data, "PNG")
                head = tarfile.TarInfo(f"{index:03}.png")
                head.size = data.tell()
                tar.addfile(head, io.BytesIO(data.getvalue()))
        with fsspec.open(f"memory://bulk/{part}.tar", "wb") as file:
            file.write(packed.getvalue())
    for number, source in enumerate(("memory://bulk", "memory://bulk/*.tar", "memory://bulk/{0..2}.tar")):
        where = tmp_path / str(number)
        where.mkdir()
        plan = planned(source, model_path, where, 6, by_file=True)
        assert [part.entries for part in read_plan(plan).parts] == [5, 5, 5]
        with smalti.open(run_plan(plan, engine=make_here).manifest) as shards:
            assert shards.names == tuple(f"{index:03}.png" for index in range(15))


def test_a_cluster_that_does_not_answer_is_one_line(plan, monkeypatch):
    ray = pytest.importorskip("ray", reason="needs the extra smalti[ray]")

    def refuse(**asked):
        assert "num_cpus" not in asked
        raise ConnectionError("nobody\nthere")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    with pytest.raises(SmaltiError, match="cannot be reached: nobody there; use --engine local"):
        run_plan(plan, engine=make_on_ray)


def test_what_is_missing_is_made_before_what_is_there_is_hashed(plan, tmp_path, monkeypatch):
    run_plan(plan, engine=make_here)
    (tmp_path / "shards" / "shard-00003.smalti").unlink()
    events = []

    def hashed(self, number, archive_sha256=ShardFolder.archive_sha256):
        events.append(("hash", number))
        return archive_sha256(self, number)

    def engine(path, shards, workers, *, strict):
        events.append(("engine", tuple(shards)))
        return make_here(path, shards, workers, strict=strict)

    monkeypatch.setattr(ShardFolder, "archive_sha256", hashed)
    report = run_plan(plan, engine=engine)
    assert (report.done, report.made_now) == (8, 1)
    assert events[0] == ("engine", (3, 0, 1, 2, 4, 5, 6, 7)), "no file is read before the first shard is begun"
    assert events[1:] == [("hash", number) for number in (3, 0, 1, 2, 4, 5, 6, 7)]


def test_a_finished_plan_is_checked_without_any_worker(plan, tmp_path):
    run_plan(plan, engine=make_here)
    started = []

    def engine(path, shards, workers, *, strict):
        started.append(list(shards))
        return make_here(path, shards, workers, strict=strict)

    assert run_plan(plan, engine=engine).made_now == 0 and started == []
    damaged = bytearray((tmp_path / "shards" / "shard-00004.smalti").read_bytes())
    damaged[1000] ^= 1
    (tmp_path / "shards" / "shard-00004.smalti").write_bytes(damaged)
    report = run_plan(plan, engine=engine, workers=2)
    assert (report.done, report.made_now, started) == (8, 1, [[4]])
