import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from helpers.transforms import numbers, random_grids, random_model, random_tokens, random_transform
from smalti.decoders.transform import transform_model
from smalti.decoders.transform.transform_model import REACH, TransformModel


def split(tokens, grids):
    ends = np.cumsum(grids.prod(axis=1))
    return np.split(tokens, ends[:-1])


def slow_round(values, bits):
    """Plain Python's whole numbers, so that nothing can be inexact."""
    made = [min(max(int(v) + (1 << bits >> 1) >> bits, -(1 << 26)), 1 << 26) for v in values.ravel()]
    return np.array(made, object).reshape(values.shape)


def slow_pixels(network, tokens, grid):
    """One picture in Python's whole numbers, stage by stage as docs/format.md has it."""
    (rows, columns), b, C, M = grid, network.cell, network.channels, network.components
    t = tokens.astype(object).reshape(rows, columns, M)
    k = np.where(t % 2 == 0, t // 2, -(t + 1) // 2)
    moved = np.zeros(k.shape, object)
    mixing = network.mixing
    if mixing is not None:
        names = (("weight1", "bias1"), ("weight2", "bias2"), ("weight3", "bias3"))
        one, two, three = ([getattr(mixing, name).astype(object) for name in pair] for pair in names)
        s1, s2, s3 = (1 << shift for shift in mixing.shifts)
        a = np.clip((np.clip(k, -127, 127).dot(one[0]) + one[1]) // s1, 0, 255)
        framed = np.zeros((rows + 2, columns + 2, mixing.width), object)
        framed[1:-1, 1:-1] = a
        h = sum(framed[i // 3 : i // 3 + rows, i % 3 : i % 3 + columns].dot(two[0][i]) for i in range(9)) + two[1]
        moved = np.clip((np.clip(h // s2, 0, 255).dot(three[0]) + three[1]) // s3, -127, 127)
    value = np.clip(((16 * k + moved) * network.steps.astype(object) + 8) // 16, -(1 << 26), 1 << 26)
    planes = np.zeros((C, rows * b, columns * b), object)
    for m, place in enumerate(network.places.tolist()):
        channel, u, v = place // (b * b), place // b % b, place % b
        one = np.outer(network.rows[channel][u], network.columns[channel][v]).astype(object)
        for y in range(rows):
            for x in range(columns):
                planes[channel, y * b : y * b + b, x * b : x * b + b] += one * value[y, x, m]
    planes = slow_round(planes, 20)
    if C > 1:
        planes = slow_round(np.tensordot(network.colour.T.astype(object), planes, 1), 10)
    lap, half = network.lap.astype(object), b // 2
    for y in range(half, (rows - 1) * b, b):
        planes[:, y : y + b] = slow_round(np.einsum("ij,cjx->cix", lap, planes[:, y : y + b]), 10)
    for x in range(half, (columns - 1) * b, b):
        planes[:, :, x : x + b] = slow_round(np.einsum("ij,cyj->cyi", lap, planes[:, :, x : x + b]), 10)
    planes = planes + network.mean.astype(object)[:, None, None] + (1 << network.fraction >> 1)
    pixels = np.clip(planes // (1 << network.fraction), 0, np.iinfo(network.pixel_type).max)
    pixels = pixels.astype(network.pixel_type).transpose(1, 2, 0)
    if C in (2, 4):
        pixels[pixels[..., -1] == 0] = 0
    return pixels


SHAPES = st.fixed_dictionaries(
    {
        "channels": st.integers(1, 4),
        "cell": st.sampled_from([8, 8, 16, 32]),
        "components": st.integers(1, 9),
        "mixing": st.sampled_from([0, 1, 5]),
        "dtype": st.sampled_from(["uint8", "uint16"]),
        "fraction": st.integers(0, 8),
    }
)


@hypothesis_settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES, grid=st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_gives_what_whole_numbers_give(seed, shape, grid):
    rng = np.random.default_rng(seed)
    model = random_model(rng, **shape)
    tokens = random_tokens(rng, grid[0] * grid[1], shape["components"])
    pixels = model.decode(tokens, np.array([grid]), 1)[0]
    assert pixels.dtype == shape["dtype"] and (pixels == slow_pixels(model.network, tokens, grid)).all()


@pytest.mark.parametrize("cell", [8, 32])
def test_largest_values_are_exact(cell):
    """Every component has the largest step and token, so that the sums of all stages come near their bounds."""
    rng = np.random.default_rng(5)
    network = random_transform(rng, 3, cell, 24, 4, "uint16", 0, wild=60)
    steps = np.full(24, (1 << 24) - 1)
    network = type(network)(**{**vars(network), "steps": steps})
    tokens = rng.integers((1 << 16) - 9, 1 << 16, (6, 24)).astype(np.uint16)
    pixels = TransformModel(network).decode(tokens, np.array([(2, 3)]), 1)[0]
    assert (pixels == slow_pixels(network, tokens, (2, 3))).all()


@hypothesis_settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES, pictures=st.integers(1, 6), threads=st.integers(1, 3))
def test_pictures_do_not_change_each_other(seed, shape, pictures, threads):
    rng = np.random.default_rng(seed)
    model, grids = random_model(rng, **shape), random_grids(rng, pictures, 5)
    tokens = random_tokens(rng, int(grids.prod(axis=1).sum()), shape["components"])
    together = model.decode(tokens, grids, threads)
    for own, grid, pixels in zip(split(tokens, grids), grids, together, strict=True):
        assert (model.decode(own, grid[None], 1)[0] == pixels).all()
    order = rng.permutation(pictures)
    shuffled = model.decode(np.concatenate([split(tokens, grids)[i] for i in order]), grids[order], threads)
    for i, pixels in zip(order, shuffled, strict=True):
        assert (pixels == together[i]).all()


@hypothesis_settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), shape=SHAPES, data=st.data())
def test_a_rectangle_with_its_reach_has_the_pixels_of_the_whole(seed, shape, data):
    rng, b = np.random.default_rng(seed), shape["cell"]
    model, rows, columns = random_model(rng, **shape), *rng.integers(1, 9, 2).tolist()
    tokens = random_tokens(rng, rows * columns, shape["components"]).reshape(rows, columns, -1)
    whole = model.decode(tokens.reshape(rows * columns, -1), np.array([(rows, columns)]), 1)[0]
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    bottom, right = data.draw(st.integers(top + 1, rows)), data.draw(st.integers(left + 1, columns))
    y, x = max(0, top - REACH), max(0, left - REACH)
    window = tokens[y : bottom + REACH, x : right + REACH]
    made = model.decode(window.reshape(-1, tokens.shape[2]), np.array([window.shape[:2]]), 1)[0]
    made = made[(top - y) * b : (bottom - y) * b, (left - x) * b : (right - x) * b]
    assert (made == whole[top * b : bottom * b, left * b : right * b]).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_large_pictures_are_decoded_in_squares(monkeypatch, threads):
    rng = np.random.default_rng(3)
    model, grids = random_model(rng, components=5), np.array([(1, 1), (9, 14), (2, 3), (1, 40), (40, 2)])
    tokens = random_tokens(rng, int(grids.prod(axis=1).sum()), 5)
    whole = model.decode(tokens, grids, 1)
    for values in (1, 8 * 8 * 3 * 4, 8 * 8 * 3 * 20):
        monkeypatch.setattr(transform_model, "_TILE_VALUES", values)
        tiled = model.decode(tokens, grids, threads)
        assert all((one == other).all() for one, other in zip(whole, tiled, strict=True))


@pytest.mark.parametrize("channels", [2, 4])
def test_colours_are_0_where_alpha_is_0(channels):
    rng = np.random.default_rng(channels)
    network = random_transform(rng, channels, components=12, mixing=0)
    network.mean[-1] = 40
    pixels = TransformModel(network).decode(random_tokens(rng, 16, 12), np.array([(4, 4)]), 1)[0]
    clear = pixels[..., -1] == 0
    assert 0 < clear.mean() < 1 and not pixels[clear].any() and pixels[~clear][..., :-1].any()


def test_no_pictures():
    assert random_model(np.random.default_rng(0)).decode(np.empty((0, 7), np.uint16), np.empty((0, 2), int), 1) == []


def test_numbers_have_both_signs():
    found = numbers(np.random.default_rng(0), 100, 3)
    assert found.min() == -3 and found.max() == 3
