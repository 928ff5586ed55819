import numpy as np
import pytest

from smalti.entropy.coder import SymbolDecoder, SymbolEncoder
from smalti.entropy.frequency import FrequencyTable
from smalti.errors import DamagedArchiveError, UsageError


def table_of(*frequencies):
    return FrequencyTable(np.array(frequencies, np.uint32), (sum(frequencies) - 1).bit_length())


WIDE, SPARSE, SINGLE = table_of(9, 4, 2, 1), table_of(0, 3, 0, 0, 5), table_of(0, 0, 1)


def encode(*groups):
    encoder = SymbolEncoder()
    for symbols, table in groups:
        encoder.add(np.array(symbols, np.int64), table)
    return encoder.finish()


def test_groups_come_back_in_order_and_nothing_is_left():
    groups = [([0, 3, 1, 0, 2] * 9, WIDE), ([2, 2, 2], SINGLE), ([4, 1, 1, 4], SPARSE), ([], WIDE), ([3], WIDE)]
    decoder = SymbolDecoder(encode(*groups))
    for symbols, table in groups:
        assert decoder.take(len(symbols), table).tolist() == symbols
    decoder.finish()


def reference_decode(data, groups):
    """The coder as docs/format.md states it, in plain integers, as a reader in another language would have it."""
    words = np.frombuffer(data, "<u4").tolist()
    state = 0

    def refill(state):
        return state << 32 | words.pop() if state < 1 << 32 and words else state

    state = refill(refill(state))
    decoded = []
    for count, table in groups:
        units = table.frequencies.astype(np.int64) << (24 - table.precision)
        lefts = np.cumsum(units) - units
        for _ in range(count if len(table.symbols) > 1 else 0):
            quantile = state & (1 << 24) - 1
            symbol = int(np.searchsorted(lefts + units, quantile, side="right"))
            state = refill((state >> 24) * int(units[symbol]) + quantile - int(lefts[symbol]))
            decoded.append(symbol)
    assert state == 0 and not words
    return decoded


SYMBOLS, MORE = [i * i % 7 % 4 for i in range(60)], [1, 4, 4, 1, 4]


def test_the_coder_is_the_one_of_the_specification():
    data = encode((SYMBOLS, WIDE), ([2, 2], SINGLE), (MORE, SPARSE))
    assert reference_decode(data, [(60, WIDE), (2, SINGLE), (5, SPARSE)]) == SYMBOLS + MORE


def test_golden_words():
    """Bits of format 0. If they changed, no older file could be read."""
    data = encode((SYMBOLS, WIDE), (MORE, SPARSE))
    assert [f"{word:08x}" for word in np.frombuffer(data, "<u4")] == GOLDEN
    decoder = SymbolDecoder(data)
    assert decoder.take(60, WIDE).tolist() + decoder.take(5, SPARSE).tolist() == SYMBOLS + MORE


GOLDEN = ["dd400000", "88405961", "13e8d730", "098ebc90", "0000002c"]


def test_a_single_symbol_costs_nothing():
    assert encode(([2] * 1000, SINGLE)) == b""


def test_length_is_the_ideal_one():
    rng = np.random.default_rng(0)
    symbols = rng.choice(4, 20_000, p=np.array([9, 4, 2, 1]) / 16)
    ideal_bits = WIDE.cost_bits(np.bincount(symbols, minlength=4).astype(np.int64))
    assert 0 <= 8 * len(encode((symbols, WIDE))) - ideal_bits < 64


@pytest.mark.parametrize("symbols", [[0], [2], [5], [-1]])
def test_symbols_that_cannot_be_coded(symbols):
    with pytest.raises(UsageError):
        encode((symbols, SPARSE))


def test_decoding_too_few_symbols_is_noticed():
    decoder = SymbolDecoder(encode(([0, 3, 1, 0, 2] * 9, WIDE)))
    decoder.take(44, WIDE)
    with pytest.raises(DamagedArchiveError, match="left"):
        decoder.finish()


@pytest.mark.parametrize("data", [b"\1", b"\1\0\0\0\0\0\0\0", bytes(4)])
def test_bytes_no_encoder_writes(data):
    with pytest.raises(DamagedArchiveError):
        SymbolDecoder(data)
