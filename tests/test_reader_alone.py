"""The reader without a framework: its imports, and its work in an environment without other packages."""

import json
import subprocess
import sys

import numpy as np
import pytest

from acceptance.check_reader import GOAL_DISK_MIB, GOAL_MB, NO_INDEX
from benchmarks.harness import ROOT, Report
from benchmarks.processes import fresh_command, fresh_environment
from helpers.made_up_archives import random_network, random_tokens, write

FRAMEWORKS = {"torch", "safetensors"}
SLOW = FRAMEWORKS | {"PIL", "rich", "typer", "scipy", "skimage", "imagecodecs", "matplotlib", "http", "tarfile"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    tokens = random_tokens(60, (7, 7))
    return write(tmp_path_factory.mktemp("alone") / "small.smalti", tokens, random_network(), labels=np.arange(60))


def modules_after(code, *arguments):
    """Return the top-level names of all modules that a fresh process imports."""
    code = f"import json, sys\n{code}\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_package_itself_brings_nothing():
    assert not modules_after("import smalti") & (SLOW | {"numpy", "asyncio", "logging"})


def test_opening_and_reading_bring_numpy_and_no_more(archive):
    code = "import smalti\nwith smalti.open(sys.argv[1]) as a: a[3], a[5:9], a.tokens(0, 2), a.labels, a.verify()"
    found = modules_after(code, str(archive))
    assert "numpy" in found and not found & SLOW


@pytest.mark.parametrize("command", [["--help"], ["info"], ["test", "--full"]], ids=" ".join)
def test_commands_that_write_no_image_need_none_of_what_images_need(archive, command):
    code = "from smalti.cli import run\nassert run(sys.argv[1:]) == 0"
    arguments = command if command == ["--help"] else [*command, str(archive)]
    found = modules_after(code, *arguments)
    assert "typer" in found and not found & (SLOW - {"typer"})


def test_every_public_name_is_found_when_it_is_asked_for():
    code = """
import smalti, smalti.archive
for package in (smalti, smalti.archive):
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert set(package.__all__) <= set(dir(package)) or package is smalti.archive
    try:
        package.absent
    except AttributeError as error:
        assert "absent" in str(error)
    else:
        raise AssertionError
"""
    assert not modules_after(code) & FRAMEWORKS


INTERRUPT = """
import importlib.abc, os, signal, sys
awaited = [sys.argv.pop(1)]
class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in awaited:
            awaited.clear()
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from smalti.cli import main
main()
"""


@pytest.mark.parametrize(
    "module", ["typer", "numpy", "smalti.cli.commands", "constriction", "smalti.archive.read.reader"]
)
def test_an_interrupt_while_it_starts_is_one_line(archive, module):
    arguments = [sys.executable, "-c", INTERRUPT, module, "info", str(archive)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 130 and done.stdout == ""
    assert done.stderr == "smalti: interrupted; nothing was left half-written\n"


def test_an_interrupt_while_a_framework_is_imported_is_one_line(tmp_path):
    arguments = ["compress", str(tmp_path), "-o", str(tmp_path / "a.smalti"), "--json"]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPT, "torch", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130 and json.loads(done.stdout)["exit_code"] == 130
    assert done.stderr == "smalti: interrupted; nothing was left half-written\n" and list(tmp_path.iterdir()) == []


def test_in_an_environment_of_its_own(archive, tmp_path):
    output = tmp_path / "reader.json"
    command = fresh_command("acceptance.check_reader", archive, "--starts", "1", "-o", output)
    done = subprocess.run(command, cwd=ROOT, env=fresh_environment(), capture_output=True, text=True, check=False)
    if done.returncode == NO_INDEX:
        pytest.skip(done.stderr.strip())
    assert output.exists(), done.stderr
    found = Report.read(output).figures
    assert found["images"] == 60
    assert found["frameworks_installed"] == [] and found["frameworks_imported"] == []
    assert found["installed_mb"] < GOAL_MB and found["installed_disk_mib"] < GOAL_DISK_MIB
