import json

import pytest

from smalti.errors import ModelError, UsageError
from smalti.training.common.goal import Goal
from smalti.training.pyramid.pyramid_settings import EFFORTS, PyramidSettings


def test_settings_come_back_from_json():
    for goal in (Goal(mse=0.1), Goal(ssim=0.9), Goal(archive_bytes=100)):
        settings = PyramidSettings("fine", goal, 3, 7, 16, coarse=False)
        assert PyramidSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


@pytest.mark.parametrize("change", [{"more": 1}, {"goal": {}}, {"goal": {"mse": -1.0}}, {"effort": 10}])
def test_what_is_no_settings_is_refused(change):
    with pytest.raises(ModelError, match="fit the model anew"):
        PyramidSettings.from_json({**PyramidSettings("fine", Goal(mse=0.1)).to_json(), **change})


@pytest.mark.parametrize("fields", [{"effort": -1}, {"effort": 10}, {"seed": -1}])
def test_fields_out_of_range_are_refused(fields):
    with pytest.raises(UsageError):
        PyramidSettings("compact", Goal(mse=0.1), **fields)


def test_more_effort_takes_more():
    steps, rounds, refits = ([getattr(effort, name) for effort in EFFORTS] for name in ("steps", "rounds", "refits"))
    assert steps == sorted(set(steps)) and rounds == sorted(rounds) and refits == sorted(refits)
