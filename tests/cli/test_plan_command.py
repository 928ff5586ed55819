import json
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import pytest
from PIL import Image

from helpers.bulk_plans import shard_hashes
from helpers.command_line import names
from smalti.codec.bulk.shards import ShardMaker


@pytest.fixture
def plan(smalti, folder, model_path, tmp_path):
    path = tmp_path / "digits.plan"
    assert smalti("plan", folder.path, "--model", model_path, "--shard-images", 8, "-o", path).code == 0
    return path


def test_plan_prints_the_shards_and_how_to_make_them(smalti, folder, model_path, tmp_path):
    path = tmp_path / "digits.plan"
    arguments = ["plan", folder.path, "--model", model_path, "--shard-images", 10, "-o", path]
    ran = smalti(*arguments)
    assert (ran.code, ran.err) == (
        0,
        "",
    ) and f"7 shards of 64 entries; make them with: smalti compress --plan {path}" in ran.out
    assert names(tmp_path) == ["digits.plan"]
    assert "exists already" in smalti.fails(6, *arguments)
    told = smalti(*arguments, "-f", "--json", "--out-folder", tmp_path / "elsewhere").json
    assert (told["shards"], told["entries"], told["kind"]) == (7, 64, "folder")
    assert told["out_folder"] == str(tmp_path / "elsewhere") and told["plan_bytes"] == path.stat().st_size


def test_plan_needs_a_model_and_images(smalti, folder, model_path, tmp_path):
    arguments = ["plan", folder.path, "--shard-images", 10, "-o", tmp_path / "p"]
    assert "smalti fit SAMPLE" in smalti.fails(2, *arguments)
    assert "smalti fit SAMPLE" in smalti.fails(1, *arguments, "--model", tmp_path / "none")
    assert "--by-file" in smalti.fails(2, *arguments, "--model", model_path, "--by-file")
    smalti.fails(2, "plan", folder.path, "-o", tmp_path / "p")
    assert names(tmp_path) == []


def test_tasks_make_their_parts_and_the_last_one_the_manifest(smalti, plan, tmp_path):
    told = smalti("compress", "--plan", plan, "--task", "0/2", "--json").json
    assert (told["shards"], told["done"], told["made_now"], told["manifest"]) == (4, 4, 4, None)
    ran = smalti("compress", "--plan", plan, "--task", "1/2")
    manifest = tmp_path / "digits.plan.shards" / "manifest.smalti-manifest"
    assert ran.code == 0 and "4 of 4 shards are there, 4 made now" in ran.out and str(manifest) in ran.out
    assert smalti("info", manifest, "--json").json["images"] == 64
    told = smalti("compress", "--plan", plan, "--json").json  # nothing is left to do, so no worker starts
    assert (told["shards"], told["done"], told["made_now"], told["images"]) == (8, 8, 0, 64)
    assert told["manifest"] == str(manifest) and told["skipped"] == [] and told["failures"] == []


def test_skipped_entries_are_exit_code_3_and_with_strict_1(smalti, folder, model_path, tmp_path):
    shutil.copytree(folder.path, tmp_path / "photos")
    (tmp_path / "photos" / "digit 9" / "zz.png").write_bytes(b"no image")
    path = tmp_path / "digits.plan"
    smalti("plan", tmp_path / "photos", "--model", model_path, "--shard-images", 40, "-o", path)
    for _ in range(2):
        ran = smalti("compress", "--plan", path, "--task", "0/1", "--json")
        assert ran.code == 3 and [(file["shard"], file["name"]) for file in ran.json["skipped"]] == [
            (1, "digit 9/zz.png")
        ]
        assert "skipped digit 9/zz.png (shard 1)" in ran.err
    ran = smalti("compress", "--plan", path, "--task", "0/1", "--strict", "--json")
    assert ran.code == 1 and ran.json["failures"][0]["shard"] == 1 and "shard 1 failed: " in ran.err


def test_a_plan_goes_alone(smalti, plan, folder, model_path, tmp_path):
    for more in (
        ["--model", model_path],
        ["-o", tmp_path / "x"],
        ["--max-mse", 0.1],
        ["--threads", 2],
        ["--no-labels"],
    ):
        assert "a plan fixes" in smalti.fails(2, "compress", "--plan", plan, *more)
    assert "SOURCE" in smalti.fails(2, "compress", folder.path, "--plan", plan)
    assert "go with --plan" in smalti.fails(2, "compress", folder.path, "-o", tmp_path / "x", "--workers", 2)
    assert "in this process alone" in smalti.fails(2, "compress", "--plan", plan, "--task", "0/2", "--workers", 2)
    assert "0/n to n-1/n" in smalti.fails(2, "compress", "--plan", plan, "--task", "2/2")
    assert "or --plan PLAN" in smalti.fails(2, "compress", folder.path)
    assert "no sound plan" in smalti.fails(1, "compress", "--plan", model_path)
    assert names(tmp_path) == ["digits.plan"]


def test_ctrl_c_prints_how_to_resume(smalti, plan, tmp_path, monkeypatch):
    def interrupted(self, number):
        if number == 2:
            raise KeyboardInterrupt
        return attempt(self, number)

    attempt = ShardMaker.attempt
    monkeypatch.setattr(ShardMaker, "attempt", interrupted)
    line = smalti.fails(130, "compress", "--plan", plan, "--task", "0/1")
    assert line == f"smalti: interrupted; go on with: smalti compress --plan {plan} --task 0/1\n"
    monkeypatch.undo()
    assert smalti("compress", "--plan", plan, "--task", "0/1", "--json").json["made_now"] == 6


def test_a_killed_run_resumes_where_it_was(smalti, folder, model_path, tmp_path):
    path, shards = tmp_path / "digits.plan", tmp_path / "digits.plan.shards"
    assert smalti("plan", folder.path, "--model", model_path, "--shard-images", 1, "-o", path).code == 0
    assert smalti("compress", "--plan", path, "--task", "0/1", "-q").code == 0
    expected = shard_hashes(shards)
    shutil.rmtree(shards)
    command = [sys.executable, "-m", "smalti", "compress", "--plan", str(path), "--workers", "1", "--json"]
    victim = subprocess.Popen(command, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(list(shards.glob("shard-*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.002)
    victim.kill()
    assert victim.wait(60) == -signal.SIGKILL
    victim.stdout.read()  # its worker ends after the current shard, and closes this pipe
    left = len(list(shards.glob("shard-*.json")))
    assert 3 <= left < 64 and shard_hashes(shards).items() <= expected.items()
    done = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=240).stdout)
    assert (done["done"], done["made_now"]) == (64, 64 - left) and shard_hashes(shards) == expected


def test_secrets_and_many_files_are_warned_of(smalti, digits, model_path, tmp_path):
    fsspec = pytest.importorskip("fsspec", reason="needs the extra smalti[remote]")
    for part, name in enumerate(("planned/0.tar", "planned/1.tar", "someone:password@planned/0.tar")):
        with fsspec.open(f"memory://{name}", "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
            Image.fromarray(digits.images[part]).save(tmp_path / "one.png")
            tar.add(tmp_path / "one.png", f"{part}.png")
    arguments = ["--model", model_path, "--shard-images", 1, "-o", tmp_path / "p", "-f"]
    ran = smalti("plan", "memory://planned", *arguments)
    assert (ran.code, ran.err) == (0, "every worker will open all 2 files; with --by-file, those of its shards alone\n")
    assert smalti("plan", "memory://planned", *arguments, "--by-file").err == ""
    ran = smalti("plan", "memory://someone:password@planned/0.tar", *arguments)
    assert ran.code == 0 and "may be secret" in ran.err and "password" not in ran.err + ran.out
