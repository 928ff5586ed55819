"""Decoded blocks: what they give, what they keep, and that no process waits for another one that is gone."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from smalti.errors import DamagedArchiveError, SmaltiError, UsageError
from smalti.interop.torch import shared_memory
from smalti.interop.torch.dataset import ArchiveDataset
from smalti.interop.torch.decoded_blocks import DecodedBlocks
from smalti.interop.torch.sampler import BlockShuffleSampler

SHAPE = (2, 3, 1)
BOUNDS = np.array([0, 4, 8, 9, 15, 19])
IMAGES = np.arange(19 * 6).reshape(19, *SHAPE).astype(np.uint16)
BLOCK_BYTES = 6 * 6 * 2  # of the largest block

needs_fork = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
needs_shared_memory = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shares decoded blocks")


class Decoder:
    """Gives images, and counts how often each block is decoded."""

    def __init__(self):
        self.blocks = []

    def __call__(self, numbers):
        assert (np.diff(numbers) > 0).all()
        self.blocks += np.flatnonzero(np.isin(BOUNDS[:-1], numbers)).tolist()
        return IMAGES[numbers]


def made(slots):
    return DecodedBlocks(BOUNDS, SHAPE, np.dtype(np.uint16), slots * BLOCK_BYTES)


def keeps(blocks):
    return set(np.flatnonzero(blocks._slot_of >= 0).tolist())


@settings(max_examples=60, deadline=None)
@given(
    slots=st.integers(1, 5),
    most=st.integers(1, 3),
    requests=st.lists(st.lists(st.integers(0, 18), max_size=12), max_size=8),
)
def test_gives_the_images_of_any_numbers(slots, most, requests):
    blocks, decode = made(slots), Decoder()
    for request in requests:
        numbers = np.array(request, np.int64)
        assert (blocks.read(numbers, decode, most) == IMAGES[numbers]).all()
        assert len(keeps(blocks)) <= slots
    if slots == 5:
        assert len(decode.blocks) == len(set(decode.blocks))


def test_the_block_used_longest_ago_makes_room():
    blocks, decode = made(2), Decoder()
    for number in (0, 5, 1, 9, 0, 5):  # of blocks 0, 1, 0, 3, 0, 1
        blocks.read(np.array([number]), decode, 1)
    assert decode.blocks == [0, 1, 3, 1] and keeps(blocks) == {0, 1}


def test_an_announced_block_stays_and_the_last_announced_makes_room():
    blocks, decode = made(2), Decoder()
    blocks.expect([4, 3, 0])
    blocks.read(np.array([0, 18, 9]), decode, 1)
    assert keeps(blocks) == {3, 4}
    blocks.read(np.array([8]), decode, 1)  # it is not announced, so it is not kept
    assert keeps(blocks) == {3, 4}


def test_only_what_is_here_or_announced_is_served_unless_all_fits():
    blocks = made(4)
    assert not blocks.serve(np.array([0]))
    blocks.expect([0, 1])
    assert blocks.serve(np.array([0, 7])) and not blocks.serve(np.array([0, 8]))
    blocks.read(np.array([8]), Decoder(), 1)
    assert blocks.serve(np.array([0, 8]))
    assert made(5).serve(np.array([0, 8]))


@pytest.mark.parametrize(("slots", "kept"), [(5, {2, 0, 4, 1}), (2, {2, 0})])
def test_announced_blocks_are_decoded_ahead_in_their_order_as_far_as_there_is_room(slots, kept):
    blocks, decode = made(slots), Decoder()
    blocks.expect([2, 0, 4, 1])
    blocks.decode_ahead(decode, 1)
    blocks._ahead.join(60)
    assert decode.blocks == [block for block in (2, 0, 4, 1) if block in kept] and keeps(blocks) == kept
    blocks.read(np.array([0, 8]), decode, 1)
    assert len(decode.blocks) == len(kept)


@pytest.mark.parametrize("error", [DamagedArchiveError("block 1"), OSError("block 1 is far away")])
def test_an_error_of_decoding_ahead_reaches_who_reads_the_block(error):
    blocks, asked = made(5), []

    def decode(numbers):
        asked.append(numbers)
        if 4 in numbers:
            raise error
        return IMAGES[numbers]

    blocks.expect([0, 1, 2])
    blocks.decode_ahead(decode, 1)
    blocks._ahead.join(60)
    assert keeps(blocks) == {0, 2} and len(asked) == 3
    with pytest.raises(type(error), match="block 1"):
        blocks.read(np.array([5]), decode, 1)
    assert (blocks.read(np.array([0, 8]), decode, 1) == IMAGES[[0, 8]]).all()


def test_many_threads_decode_each_block_once():
    blocks, decode, wrong = made(5), Decoder(), []

    def read(seed):
        rng = np.random.default_rng(seed)
        for _ in range(50):
            numbers = rng.integers(0, 19, 7)
            if not (blocks.read(numbers, decode, 2) == IMAGES[numbers]).all():
                wrong.append(numbers)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and sorted(decode.blocks) == [0, 1, 2, 3, 4]


def test_pickled_elsewhere_they_are_empty():
    blocks = made(5)
    blocks.read(np.arange(19), Decoder(), 5)
    again = pickle.loads(pickle.dumps(blocks))
    assert keeps(blocks) == {0, 1, 2, 3, 4} and not keeps(again)
    assert (again.read(np.arange(19), Decoder(), 5) == IMAGES).all()


@needs_fork
@needs_shared_memory
def test_a_process_that_dies_while_it_decodes_is_not_waited_for():
    blocks = made(5)

    def die(numbers):
        os._exit(3)

    child = multiprocessing.get_context("fork").Process(target=lambda: blocks.forked().read(np.array([0]), die, 1))
    child.start()
    child.join(60)
    assert child.exitcode == 3
    assert (blocks.read(np.array([0]), Decoder(), 1) == IMAGES[:1]).all()


def read_all(blocks, answers):
    decode = Decoder()
    right = bool((blocks.forked().read(np.arange(19), decode, 1) == IMAGES).all())
    answers.put((right, decode.blocks))


@needs_shared_memory
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes_share_what_one_of_them_has_decoded(method):
    context, blocks, decode = multiprocessing.get_context(method), made(5), Decoder()
    blocks.read(np.array([0, 9]), decode, 1)
    answers = context.Queue()
    child = context.Process(target=read_all, args=(blocks, answers))
    child.start()
    assert answers.get(timeout=120) == (True, [1, 2, 4])
    child.join(60)
    assert (blocks.read(np.arange(19), decode, 1) == IMAGES).all() and decode.blocks == [0, 3]


@needs_fork
@needs_shared_memory
def test_workers_decode_each_block_once_between_them(grey, monkeypatch, tmp_path):
    decode = ArchiveDataset._decode

    def told(self, numbers):
        with (tmp_path / "decoded").open("a") as file:
            file.write("".join(f"{number}\n" for number in numbers))
        return decode(self, numbers)

    monkeypatch.setattr(ArchiveDataset, "_decode", told)
    dataset = ArchiveDataset(grey.path, labels=False)
    sampler = BlockShuffleSampler(dataset, window_blocks=2)
    loader = DataLoader(dataset, 8, sampler=sampler, num_workers=2, multiprocessing_context="fork", timeout=120)
    for _ in range(2):  # the workers of the second epoch find all of it
        assert (torch.cat(list(loader)).numpy()[:, 0] == grey.pixels[list(sampler)]).all()
    assert sorted(map(int, (tmp_path / "decoded").read_text().split())) == list(range(130))


@pytest.mark.parametrize("cache_bytes", [0, 20 * 77, 3 * 20 * 77, 1 << 20])
@pytest.mark.parametrize("threads", [None, 1, 3])
def test_a_dataset_gives_the_same_whatever_it_keeps(grey, cache_bytes, threads):
    dataset = ArchiveDataset(grey.path, labels=False, cache_bytes=cache_bytes, threads=threads)
    sampler = BlockShuffleSampler(dataset, window_blocks=2)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        loaded = torch.cat(list(DataLoader(dataset, 8, sampler=sampler)))
        assert (loaded.numpy()[:, 0] == grey.pixels[list(sampler)]).all()
    dataset.close()
    assert (dataset[[5, 129, 5]].numpy()[:, 0] == grey.pixels[[5, 129, 5]]).all()


@pytest.mark.parametrize("arguments", [{"threads": 0}, {"cache_bytes": -1}])
def test_what_cannot_be(grey, arguments):
    with pytest.raises(UsageError, match="cannot be"):
        ArchiveDataset(grey.path, **arguments)


def test_no_memory_is_one_line(grey, monkeypatch):
    def none(*arguments):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(shared_memory.mmap, "mmap", none)
    with pytest.raises(SmaltiError, match=r"Cannot allocate memory\): give less cache_bytes"):
        ArchiveDataset(grey.path)


def test_a_program_ends_while_it_decodes_ahead(grey):
    code = """
import sys, time
import numpy as np
from smalti.interop.torch.decoded_blocks import DecodedBlocks
blocks = DecodedBlocks(np.arange(1001), (1, 1, 1), np.dtype(np.uint8), 1000)
blocks.expect(range(1000))
def decode(numbers):
    time.sleep(.5)
    return np.zeros((len(numbers), 1, 1, 1), np.uint8)
blocks.decode_ahead(decode, 1)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
