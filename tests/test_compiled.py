"""When kernels are taken. What they give is tested beside what they stand for."""

import os
import subprocess
import sys

import pytest

from smalti import compiled
from smalti.compiled import WORTH, expect_much, kernels_pay


@pytest.fixture(autouse=True)
def _a_new_process(monkeypatch):
    monkeypatch.setattr(compiled, "_done", 0)
    monkeypatch.delenv("SMALTI_KERNELS", raising=False)
    monkeypatch.setattr(compiled, "_has_numba", lambda: True)


def test_a_process_begins_with_numpy_and_goes_on_with_kernels():
    assert not kernels_pay(WORTH // 2)
    assert not kernels_pay(WORTH - WORTH // 2)
    assert kernels_pay(1) and kernels_pay(1)


def test_much_work_is_done_by_kernels_from_the_start():
    assert kernels_pay(WORTH + 1)


def test_a_process_that_will_do_much_takes_kernels_from_the_start(monkeypatch):
    expect_much()
    assert kernels_pay(1)
    monkeypatch.setenv("SMALTI_KERNELS", "never")
    expect_much()
    assert not kernels_pay(1)


def test_the_environment_decides(monkeypatch):
    monkeypatch.setenv("SMALTI_KERNELS", "always")
    assert kernels_pay(1)
    monkeypatch.setenv("SMALTI_KERNELS", "never")
    assert not kernels_pay(2 * WORTH)


def test_without_numba_there_are_none(monkeypatch):
    monkeypatch.setattr(compiled, "_has_numba", lambda: False)
    monkeypatch.setenv("SMALTI_KERNELS", "always")
    assert not kernels_pay(2 * WORTH)


def test_a_kernel_is_compiled_where_no_folder_can_be_written(monkeypatch):
    numba = pytest.importorskip("numba", reason="kernels need smalti[fast]")
    true, asked = numba.njit, []

    def njit(*functions, **options):
        if functions:  # one of Numba's own
            return true(*functions, **options)
        asked.append(options.get("cache", False))
        if asked[-1]:
            raise RuntimeError("cannot cache function: no locator available")
        return true(**options)

    monkeypatch.setattr(numba, "njit", njit)
    assert compiled.kernel(_twice)(21) == 42
    assert asked == [True, False]


FORKED_WHILE_A_THREAD_COMPILES = """
import os, sys, threading, time
from numba.core.compiler_lock import global_compiler_lock
from smalti.compiled import kernel
@kernel
def first(number):
    return number + 1
@kernel
def second(number):
    return number + 2
first(1)
inside = threading.Event()
def compile_slowly():
    with global_compiler_lock:
        inside.set()
        time.sleep(1)
threading.Thread(target=compile_slowly).start()
inside.wait()
child = os.fork()
if not child:
    os._exit(second(5))
until = time.monotonic() + 60
while time.monotonic() < until:
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        sys.exit(os.waitstatus_to_exitcode(status) != 7)
    time.sleep(.05)
os.kill(child, 9)
sys.exit("the child waits for ever")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_process_forked_while_a_thread_compiles_can_compile(tmp_path):
    pytest.importorskip("numba", reason="kernels need smalti[fast]")
    program = tmp_path / "program.py"
    program.write_text(FORKED_WHILE_A_THREAD_COMPILES)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _twice(number):
    return 2 * number


MODULE = """
import numpy as np
from typing import NamedTuple
from smalti.compiled import kernel
from smalti.made_up import FACTOR

class {name}(NamedTuple):
    numbers: np.ndarray

@kernel
def add(pair):
    return FACTOR * pair.numbers.sum()
"""
RUN = """
import sys, types
module = types.ModuleType("smalti.made_up")
module.__file__ = "factor.py"
exec(open("factor.py").read(), vars(module))
sys.modules["smalti.made_up"] = module
import numpy, made
print(made.add(made.{name}(numpy.arange(4))), sum(made.add.stats.cache_hits.values()))
"""


def test_changes_of_classes_and_of_other_files_are_noticed(tmp_path):
    pytest.importorskip("numba", reason="kernels need smalti[fast]")

    def run(name, factor):
        (tmp_path / "made.py").write_text(MODULE.format(name=name), "utf-8")
        (tmp_path / "factor.py").write_text(f"FACTOR = {factor}", "utf-8")
        command = [sys.executable, "-B", "-c", RUN.format(name=name)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()

    assert run("First", 2) == ["12", "0"]
    assert run("First", 2) == ["12", "1"]
    assert run("First", 3) == ["18", "0"]
    assert run("Other", 3) == ["18", "0"]
