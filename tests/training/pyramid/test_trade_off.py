import math

import pytest

from smalti.errors import UsageError
from smalti.training.common.goal import Goal
from smalti.training.pyramid.trade_off import FIRST, REACH, RISEN, SLACK, TradeOff


@pytest.mark.parametrize("given", [{}, {"mse": 0.1, "ssim": 0.9}, {"mse": 0.0}, {"mse": float("nan")}, {"ssim": 1.0}])
def test_goals_that_cannot_be_are_refused(given):
    with pytest.raises(UsageError):
        Goal(**given)


@pytest.mark.parametrize("rises", [True, False])
def test_the_price_adapts_to_the_goal(rises):
    trade_off = TradeOff(1.0, 500, rises)
    for _ in range(500):
        trade_off.observe(trade_off.price if rises else 1 / trade_off.price, 0.5 if rises else 2.0)
    assert 0.4 < trade_off.price < 0.6


@pytest.mark.parametrize("measured", [0.0, 1e-9, 1e9])
def test_the_price_stays_within_bounds(measured):
    trade_off = TradeOff(0.01, 10)
    for _ in range(10):
        trade_off.observe(measured, 1.0)
    assert trade_off.price == pytest.approx(0.01 * math.exp(REACH if measured < 1 else -REACH))


def test_the_price_first_rises_to_the_likely_one_for_any_measure():
    prices = []
    for measured in (1e-9, 1e9):
        trade_off = TradeOff(0.01, 1000)
        prices.append([])
        for _ in range(round(RISEN * 1000)):
            prices[-1].append(trade_off.price)
            trade_off.observe(measured, 1.0)
        assert trade_off.price == pytest.approx(0.01)
    assert prices[0] == prices[1] == sorted(prices[0])
    assert prices[0][0] == pytest.approx(0.01 * FIRST)


def test_a_tolerated_excess_of_error_moves_nothing():
    trade_off = TradeOff(0.01, 1000)
    for _ in range(1000):
        trade_off.observe(1 + SLACK, 1.0)
    assert trade_off.price > 0.01
    for share in (1.0, 1.05):
        ending = TradeOff(0.01, 1000)
        ending.restore({"moved": 0.0, "smooth": share * (1 + SLACK), "step": 999.0})
        ending.observe(share * (1 + SLACK), 1.0)
        assert ending.price == pytest.approx(0.01, rel=1e-9) if share == 1 else ending.price < 0.01


def test_a_state_goes_on_as_if_nothing_had_happened():
    one, other = TradeOff(0.01, 50), TradeOff(0.01, 50)
    other.restore(one.state())
    for measured in 10 * (0.3, 0.1, 2.0, 0.2):
        one.observe(measured, 0.5)
        other.observe(measured, 0.5)
        renewed = TradeOff(0.01, 50)
        renewed.restore(other.state())
        other = renewed
    assert one.state() == other.state() and one.price == other.price
