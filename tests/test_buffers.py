"""Buffers that the C library keeps."""

import platform
import subprocess
import sys

import pytest

from smalti.buffers import keep_large_buffers

PROGRAM = """
import resource
from smalti.buffers import keep_large_buffers
kept = {keep} and keep_large_buffers()
size = 48 << 20
for _ in range(20):
    b"x" * size
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(keep):
    command = [sys.executable, "-c", PROGRAM.format(keep=keep)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_pages_of_large_buffers_are_asked_for_once():
    assert keep_large_buffers() is True
    given_back = faults(False)
    if given_back < 100_000:
        pytest.skip("this system has large pages")
    assert faults(True) < 0.3 * given_back


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_large_buffers() is False
