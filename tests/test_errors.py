import pickle
import re
from pathlib import Path

import pytest

from smalti import errors
from smalti.cli.interruption import WorkInterruptedError

TREE = [getattr(errors, name) for name in errors.__all__]


def test_every_error_is_a_smalti_error_and_a_value_error():
    assert all(issubclass(error, errors.SmaltiError) for error in TREE) and issubclass(errors.SmaltiError, ValueError)
    assert issubclass(errors.ImageIndexError, IndexError)  # so that plain iteration over an archive ends


@pytest.mark.parametrize("error", TREE, ids=lambda error: error.__name__)
def test_exit_codes_are_those_drawn_in_the_documentation(error):
    (drawn,) = re.findall(rf"\b{error.__name__}\b[^\n]*?\s(\d)\b", errors.__doc__)
    assert error.exit_code == int(drawn)


def test_the_tree_drawn_is_the_tree():
    depths = {}
    for line in errors.__doc__.splitlines():
        drawn = re.search(r"([A-Z]\w+Error)\b", line)
        if drawn and re.search(r"\s\d\b", line):
            depths[drawn[1]] = drawn.start() // 4
    assert set(depths) == set(errors.__all__)
    for error in TREE:
        ours = [base for base in error.__mro__ if issubclass(base, errors.SmaltiError)]
        assert depths[error.__name__] - depths["SmaltiError"] == len(ours) - 1, error


def test_an_absent_part_names_its_install_command():
    error = errors.MissingDependencyError.of("fitting", "torch", "train")
    assert str(error) == 'fitting needs torch, which is not installed; pip install "smalti[train]"'


def test_interrupted_work_has_the_code_of_an_interrupt():
    error = WorkInterruptedError.resuming_with("smalti fit x -o y --resume")
    assert error.exit_code == 130 and str(error) == "interrupted; go on with: smalti fit x -o y --resume"


@pytest.mark.parametrize("error", TREE, ids=lambda error: error.__name__)
def test_an_error_carries_its_file(error):
    found = error("is cut short", path=Path("a/b.smalti"))
    assert str(found) == "a/b.smalti: is cut short" and found.message == "is cut short"
    again = pickle.loads(pickle.dumps(found))
    assert (type(again), str(again), again.path) == (error, str(found), found.path)
