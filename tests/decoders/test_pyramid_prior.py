import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.networks import SHAPES, random_prior, random_pyramid, random_tokens
from helpers.reference_pyramid import B, all_units, units
from smalti.entropy import priors
from smalti.entropy.coder import StackEncoder, SymbolDecoder
from smalti.entropy.priors import EXP, SIXTEENTHS, share_units
from smalti.errors import DamagedArchiveError, UsageError


def made_up(seed, shape, images=4):
    rng, (grid, strides) = np.random.default_rng(seed), shape
    network = random_pyramid(rng, strides)
    return random_prior(rng, network, grid), random_tokens(rng, network, grid, images)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from(SHAPES), part=st.sampled_from([1, 50, 1 << 14]))
def test_tokens_come_back_and_cost_what_the_reference_says(seed, shape, part):
    prior, tokens = made_up(seed, shape)
    whole, priors._PIECE_NUMBERS = prior.encode(tokens), part
    try:
        data = prior.encode(tokens)
        assert data == whole, "the size of parts does not matter"
        back = prior.decode(data, len(tokens))
        bits = prior.cost_bits(tokens)
    finally:
        priors._PIECE_NUMBERS = 1 << 14
    assert back.dtype == np.uint16 and (back == tokens).all()
    depths = prior.layout.check(tokens)
    of_tokens = [sum(24 - np.log2(of_code[code]) for of_code, code in each) for each in all_units(prior, tokens)]
    of_depths = prior.depths.precision - np.log2(prior.depths.frequencies[depths])
    assert np.allclose(bits, of_depths + of_tokens)
    assert abs(8 * len(data) - bits.sum()) < 96


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), codes=st.integers(2, 40), scale=st.sampled_from([0, 3, 100, 1 << 24]))
def test_units_are_those_of_the_reference(seed, codes, scale):
    scores = np.random.default_rng(seed).integers(-scale, scale + 1, (5, codes))
    weights = share_units(scores.astype(np.float32))
    assert weights.dtype == np.float32
    assert (weights.astype(np.int64) + 1).tolist() == [units(row) for row in scores.tolist()]


def test_many_codes_keep_a_unit_each():
    scores = np.zeros((1, 65_535), np.float32)
    scores[0, 7] = 300
    found = share_units(scores).astype(np.int64) + 1
    assert found.sum() == 1 << 24 and found.min() >= 1 and found.argmax() == 7


def test_the_listed_powers_are_rounded_right():
    assert list(SIXTEENTHS) == B and EXP[0] == 1 << 16 and EXP[255] == 1 and (np.diff(EXP) <= 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lazy", [False, True])
def test_the_coder_has_exactly_these_units(dtype, lazy):
    """Every edge of a distribution given with each symbol, recovered from the coder itself, number by number."""
    rng = np.random.default_rng(3)
    scores = np.concatenate([rng.integers(-200, 1, (3, 9)), rng.integers(-3, 4, (3, 9)), np.zeros((1, 9))])
    weights = share_units(scores.astype(np.float32))
    family = constriction.stream.model.Categorical(perfect=False, lazy=lazy)
    for row in weights:
        edges = np.cumsum(row.astype(np.int64) + 1)
        assert edges[-1] == 1 << 24
        for symbol, edge in enumerate(edges.tolist()):
            for number, expected in ((edge - 1, symbol), (edge, symbol + 1)):
                if number < 1 << 24:
                    coder = constriction.stream.stack.AnsCoder(np.array([number, 1 << 31], np.uint32))
                    assert coder.decode(family, row[None].astype(dtype)).tolist() == [expected]


def test_a_distribution_for_each_symbol_gives_the_words_of_tables():
    """The same symbols, coded one by one with tables of the same units, give the same words."""
    rng = np.random.default_rng(1)
    weights = share_units(rng.integers(-90, 1, (50, 6)).astype(np.float32))
    symbols = rng.integers(0, 6, 50)
    each, one_by_one = StackEncoder(), constriction.stream.stack.AnsCoder()
    each.push_each(symbols, weights)
    for symbol, row in zip(symbols[::-1], weights[::-1], strict=True):
        model = constriction.stream.model.Categorical(row.astype(np.float64), perfect=False)
        one_by_one.encode_reverse(np.array([symbol], np.int32), model)
    data = each.finish()
    assert data == one_by_one.get_compressed().astype("<u4").tobytes()
    decoder = SymbolDecoder(data)
    assert (decoder.take_each(weights) == symbols).all()
    decoder.finish()


def test_blocks_of_no_image_and_of_no_level():
    prior, tokens = made_up(5, SHAPES[3])
    assert prior.encode(tokens[:0]) == b"" and prior.decode(b"", 0).shape == (0, tokens.shape[1])
    blank = prior.layout.truncated(tokens, 0)
    assert (prior.decode(prior.encode(blank), len(blank)) == blank).all()


def test_bytes_that_are_of_another_block():
    prior, tokens = made_up(5, SHAPES[3], images=40)
    data = prior.encode(tokens)
    for wrong in (data[:-4], data + b"\1\0\0\0", data[1:]):
        with pytest.raises(DamagedArchiveError):
            back = prior.decode(wrong, len(tokens))
            assert (back == tokens).all()


def test_tokens_that_cannot_be():
    prior, tokens = made_up(5, SHAPES[3])
    with pytest.raises(UsageError):
        prior.encode(tokens[:, 1:])
    with pytest.raises(UsageError):
        prior.cost_bits(np.zeros_like(tokens) + 60_000)
