"""Random tests: the same on every machine, of any speed, unless fresh examples are requested."""

import re
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).parent


def test_examples_come_from_fixed_seeds_and_have_no_deadline(request):
    """Before: every run had fresh seeds."""
    if request.config.getoption("--hypothesis-profile") not in (None, "fixed"):
        pytest.skip("another profile was asked for")
    assert settings.default.derandomize and settings.default.deadline is None


def test_no_test_has_a_deadline_of_its_own():
    """Before: test_fuzz.py failed on a busy machine, since an example took more than 5 s."""
    found = {
        path.name: re.findall(r"\bdeadline=(?!None\b)\S+", path.read_text("utf-8")) for path in TESTS.rglob("test_*.py")
    }
    assert {name: deadlines for name, deadlines in found.items() if deadlines} == {}
