import pytest

from smalti.errors import UsageError
from smalti.training.pyramid import Goal
from smalti.training.pyramid.control import MOST, TradeOff


@pytest.mark.parametrize("given", [{}, {"mse": 0.1, "ssim": 0.9}, {"mse": 0.0}, {"mse": float("nan")}, {"ssim": 1.0}])
def test_goals_that_cannot_be_are_refused(given):
    with pytest.raises(UsageError):
        Goal(**given)


@pytest.mark.parametrize("rises", [True, False])
def test_the_price_is_led_to_the_goal(rises):
    trade_off = TradeOff(0.01, 500, rises)
    for _ in range(500):
        trade_off.observe(trade_off.price if rises else 1 / trade_off.price, 0.5 if rises else 2.0)
    assert 0.4 < trade_off.price < 0.6


def test_the_price_stays_within_bounds():
    low, high = TradeOff(0.01, 10), TradeOff(0.01, 10)
    for _ in range(50):
        low.observe(1e9, 1.0)
        high.observe(1e-9, 1.0)
    assert 0 < low.price <= 0.01 and high.price == pytest.approx(0.01 * MOST)


def test_the_price_does_not_fall_at_first_when_no_image_is_good():
    trade_off = TradeOff(0.01, 1000)
    for _ in range(50):
        trade_off.observe(1e9, 1.0)
    assert trade_off.price == 0.01


def test_a_state_goes_on_as_if_nothing_had_happened():
    one, other = TradeOff(0.01, 50), TradeOff(0.01, 50)
    other.restore(one.state())
    for measured in (0.3, 0.1, 2.0, 0.2):
        one.observe(measured, 0.5)
        other.observe(measured, 0.5)
        renewed = TradeOff(0.01, 50)
        renewed.restore(other.state())
        other = renewed
    assert one.state() == other.state()
