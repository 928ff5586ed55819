from itertools import chain, islice
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from smalti.errors import UsageError
from smalti.interop.torch.dataset import ArchiveDataset
from smalti.interop.torch.sampler import BlockOrder, BlockShuffleSampler


def blocks(*sizes):
    return SimpleNamespace(block_bounds=np.append(0, np.cumsum(sizes)).astype(np.int64))


SOME = blocks(20, 20, 20, 20, 20, 20, 10)


def test_the_order_is_this_one_for_ever():
    order = BlockOrder(np.array([0, 4, 8, 11]), 2, 7, 3)
    assert list(order.from_position(0)) == [9, 7, 6, 8, 10, 4, 5, 1, 2, 3, 0]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 10), st.integers(0, 2**70), st.data())
def test_every_image_once_and_from_any_position(sizes, window, seed, data):
    order = BlockOrder(blocks(*sizes).block_bounds, window, seed, 2)
    whole = list(order.from_position(0))
    assert sorted(whole) == list(range(sum(sizes)))
    position = data.draw(st.integers(0, len(whole)))
    assert list(order.from_position(position)) == whole[position:]


def test_windows_hold_so_many_blocks_and_mix_them():
    numbers = np.array(list(BlockShuffleSampler(blocks(*[20] * 12), window_blocks=3))).reshape(4, 60) // 20
    assert sorted(block for window in numbers for block in set(window)) == list(range(12))
    assert all(len(set(window)) == 3 and (np.diff(window) != 0).mean() > 0.4 for window in numbers)


def test_seed_and_epoch_change_the_order():
    sampler = BlockShuffleSampler(SOME, 1, window_blocks=2)
    first, again = list(sampler), list(sampler)
    sampler.set_epoch(1)
    assert first == again
    assert len({tuple(first), tuple(sampler), tuple(BlockShuffleSampler(SOME, 2, window_blocks=2))}) == 3


@pytest.mark.parametrize("world", [1, 2, 3, 4, 7, 200])
def test_ranks_share_the_images(world):
    for drop in (False, True):
        parts = [
            list(BlockShuffleSampler(SOME, rank=rank, world_size=world, drop_last=drop, window_blocks=2))
            for rank in range(world)
        ]
        assert {len(part) for part in parts} == {130 // world if drop else -(-130 // world)}
        numbers = list(chain(*parts))
        missing = set(range(130)) - set(numbers)
        assert len(set(numbers)) == (len(numbers) if drop else 130)
        assert len(missing) == (130 % world if drop else 0)


def test_dropped_images_differ_from_epoch_to_epoch():
    dropped = set()
    for epoch in range(5):
        parts = [BlockShuffleSampler(SOME, rank=rank, world_size=4, drop_last=True) for rank in range(4)]
        for part in parts:
            part.set_epoch(epoch)
        dropped.add(frozenset(range(130)) - frozenset(chain(*parts)))
    assert len(dropped) > 1


@given(st.lists(st.integers(0, 30), max_size=5))
def test_a_stopped_pass_resumes_with_the_missing_images(counts):
    def fresh(state=None):
        sampler = BlockShuffleSampler(SOME, 4, window_blocks=2, rank=1, world_size=2)
        if state is not None:
            sampler.load_state_dict(state)
        sampler.set_epoch(5)  # as at the top of a loop over epochs
        return sampler

    whole, taken, state = list(fresh()), [], None
    for count in counts:
        sampler = fresh(state)
        taken += islice(sampler, count)
        state = sampler.state_dict()
    assert taken == whole[: sum(counts)]
    last = fresh(state)
    assert list(last) == whole[len(taken) :]
    assert list(last) == whole  # the next pass is a whole one again


def test_a_new_epoch_begins_at_its_beginning():
    sampler = BlockShuffleSampler(SOME)
    passed = iter(sampler)
    next(passed)
    other = BlockShuffleSampler(SOME)
    other.load_state_dict(sampler.state_dict())
    other.set_epoch(1)
    assert len(list(other)) == 130


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loop_counts_what_it_consumed(grey, workers):
    """Workers are ahead of the loop: images that they have read but the loop has not used come again."""
    dataset = ArchiveDataset(grey.path)

    def loader(sampler):
        options = {"multiprocessing_context": "fork"} if workers else {}
        return DataLoader(dataset, 16, sampler=sampler, num_workers=workers, timeout=60 if workers else 0, **options)

    sampler = BlockShuffleSampler(dataset, 3, window_blocks=2)
    whole, consumed = [dataset[number][0] for number in sampler], 0
    for images, _ in loader(sampler):
        consumed += len(images)
        if consumed >= 48:
            state = sampler.state_dict(consumed)
            ahead = sampler.state_dict()["position"] > 48
            break
    assert ahead == (workers > 0)
    resumed = BlockShuffleSampler(dataset, 3, window_blocks=2)
    resumed.load_state_dict(state)
    rest = [image for images, _ in loader(resumed) for image in images]
    assert len(rest) == 130 - 48 and all(got.equal(wanted) for got, wanted in zip(rest, whole[48:], strict=True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "seed 1, this sampler's is 0"),
        ({"images": 131}, "images"),
        ({"window_blocks": 3}, "window_blocks"),
        ({"world_size": 2}, "world_size"),
        ({"position": 131}, "position 131"),
        ({"epoch": -1}, "epoch -1"),
        ({"more": 1}, "more"),
    ],
)
def test_a_state_of_another_order_is_refused(change, words):
    sampler = BlockShuffleSampler(SOME)
    with pytest.raises(UsageError, match=words):
        sampler.load_state_dict(sampler.state_dict() | change)


def test_more_than_was_given_cannot_be_consumed():
    sampler = BlockShuffleSampler(SOME)
    next(iter(sampler))
    for consumed in (2, -1):
        with pytest.raises(UsageError, match="consumed of 1"):
            sampler.state_dict(consumed)


@pytest.mark.parametrize(
    "arguments",
    [{"seed": -1}, {"window_blocks": 0}, {"rank": 2, "world_size": 2}, {"rank": 0}, {"rank": -1, "world_size": 1}],
)
def test_impossible_arguments(arguments):
    with pytest.raises(UsageError):
        BlockShuffleSampler(SOME, **arguments)
    with pytest.raises(UsageError):
        BlockShuffleSampler(SOME).set_epoch(-1)
