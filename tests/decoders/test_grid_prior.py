import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smalti.decoders.grid.grid_prior import TokenPrior
from smalti.entropy.priors import TablePrior
from smalti.errors import DamagedArchiveError, ModelError, UnsupportedArchiveError, UsageError


def counts_of(tokens, codes):
    return np.stack([np.bincount(column, minlength=codes) for column in tokens.T]).astype(np.int64)


def same_tables(one, other):
    return one.tables.precision == other.tables.precision and (one.tables.tables == other.tables.tables).all()


def draw_tokens(images, positions, codes, spread, seed):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(codes, spread), size=positions)
    return np.stack([rng.choice(codes, images, p=share) for share in shares], axis=1)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 50),
    st.integers(1, 12),
    st.sampled_from([1, 2, 5, 40, 300]),
    st.sampled_from([0.05, 1.0]),
    st.integers(0, 99),
)
def test_tokens_and_tables_come_back(images, positions, codes, spread, seed):
    tokens = draw_tokens(images, positions, codes, spread, seed)
    prior = TokenPrior.fit(counts_of(tokens, codes))
    again = TokenPrior.from_bytes(prior.to_bytes(), codes, positions)
    assert (again.kind, again.positions, again.codes) == (prior.kind, positions, codes)
    assert same_tables(prior, again)
    decoded = again.decode(prior.encode(tokens), images)
    assert decoded.dtype == np.uint16 and (decoded == tokens).all()


def test_the_largest_codebook():
    tokens = np.random.default_rng(0).permutation(65_536).reshape(-1, 4)
    prior = TokenPrior.fit_shared(np.bincount(tokens.ravel(), minlength=65_536), 4)
    again = TokenPrior.from_bytes(prior.to_bytes(), 65_536, 4)
    data = prior.encode(tokens)
    assert (again.decode(data, len(tokens)) == tokens).all()
    assert len(data) <= 2 * tokens.size + 8  # 16 bits a token, all being alike
    assert len(prior.to_bytes()) < 100  # 65,536 equal frequencies are one class and no digits


def test_kind_follows_from_the_bytes():
    skewed = draw_tokens(4000, 9, 20, 0.05, 1)
    assert TokenPrior.fit(counts_of(skewed, 20)).kind == "position"
    alike = np.repeat(draw_tokens(400, 1, 20, 0.5, 2), 9, axis=1)
    assert TokenPrior.fit(counts_of(alike, 20)).kind == "shared"


def test_fit_is_worth_its_bytes():
    """Within 3% of the empirical entropy per position, tables included, for enough images."""
    tokens = draw_tokens(20_000, 9, 20, 0.2, 3)
    counts = counts_of(tokens, 20)
    shares = counts / 20_000
    entropy_bits = -(counts * np.log2(np.where(counts, shares, 1))).sum()
    prior = TokenPrior.fit(counts)
    assert 8 * (len(prior.to_bytes()) + len(prior.encode(tokens))) < 1.03 * entropy_bits


def test_tokens_that_do_not_fit():
    prior = TokenPrior.fit(np.array([[3, 0, 1]]))
    for tokens in ([[1]], [[3]], [[-1]], [[0, 0]], [0]):
        with pytest.raises(UsageError):
            prior.encode(np.array(tokens))


def test_counts_that_do_not_fit():
    for counts in ([[0, 0]], [[1, 2], [0, 0]], [1, 2]):
        with pytest.raises(UsageError):
            TokenPrior.fit(np.array(counts))


def test_tables_must_belong_together():
    for rows in (2, 3):
        with pytest.raises(UsageError):
            TokenPrior(TablePrior(np.full((rows, 2), 4, np.uint32), 3), 4)
    for tables in ([[4, 4], [2, 2]], [[8, 1]]):
        with pytest.raises(ModelError):
            TablePrior(np.array(tables, np.uint32), 3)


def packed(counts):
    counts = np.array(counts, np.int64)
    return TokenPrior.fit(counts).to_bytes(), counts.shape[1], counts.shape[0]


@pytest.mark.parametrize("counts", [[[700, 20, 3, 0, 5]], [[900, 1, 3], [4, 900, 1], [1, 1, 400]]])
def test_every_changed_byte_is_refused_or_another_valid_table(counts):
    """Without its section's checksum, a changed byte gives our exceptions or a valid table."""
    data, codes, positions = packed(counts)
    for index in range(len(data)):
        for change in (1, 0x80, 0xFF):
            damaged = data[:index] + bytes([data[index] ^ change]) + data[index + 1 :]
            try:
                prior = TokenPrior.from_bytes(damaged, codes, positions)
            except (DamagedArchiveError, UnsupportedArchiveError):
                continue
            assert prior.codes == codes and prior.tables.rows in (1, positions)


def test_every_length_but_the_right_one_is_refused():
    data, codes, positions = packed([[900, 1, 3], [4, 900, 1], [1, 1, 400]])
    for length in range(len(data)):
        with pytest.raises(DamagedArchiveError):
            TokenPrior.from_bytes(data[:length], codes, positions)
    with pytest.raises(DamagedArchiveError):
        TokenPrior.from_bytes(data + b"\0", codes, positions)


def test_a_later_kind_is_refused_by_number():
    data, codes, positions = packed([[5, 6]])
    with pytest.raises(UnsupportedArchiveError, match="kind 9"):
        TokenPrior.from_bytes(b"\x09" + data[1:], codes, positions)


def test_a_prior_for_other_tokens_is_refused():
    data, codes, positions = packed([[5, 6]])
    with pytest.raises(DamagedArchiveError):
        TokenPrior.from_bytes(data, codes + 1, positions)


def test_a_bomb_of_tables_is_refused_before_it_is_unpacked():
    head = struct.pack("<BBHII", 2, 12, 0, 65_536, 1 << 20)
    with pytest.raises(DamagedArchiveError, match="out of range"):
        TokenPrior.from_bytes(head + bytes(64), 65_536, 1 << 20)
