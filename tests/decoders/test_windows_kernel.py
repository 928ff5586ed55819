import os
import threading

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from helpers.kernels import kernels, with_and_without
from helpers.networks import random_network, study_network, unfolded_study_network
from smalti.decoders.grid.integer_decoder import IntegerDecoder
from smalti.decoders.layers import windows_kernel
from smalti.decoders.layers.windows import WindowPair
from smalti.decoders.layers.windows_kernel import KeptPatches
from smalti.errors import ModelError


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.integers(1, 4),
    grid=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kinds=st.sampled_from([["tokens", "up"], ["tokens", "up", "conv"], ["tokens", "up", "up"]]),
    tile_bytes=st.sampled_from([10_000, 1 << 25]),
)
def test_gives_the_pixels_of_numpy(seed, channels, grid, kinds, tile_bytes):
    rng = np.random.default_rng(seed)
    network = random_network(rng, kinds, channels=channels)
    decoder = IntegerDecoder(network)
    decoder._most_bytes = tile_bytes
    assume(isinstance(decoder._stages[0], WindowPair) and decoder._stages[0]._kept_fit)
    for shape in (grid, (grid[0], 3), grid):  # patches that were kept for one grid serve another one
        tokens = rng.integers(0, network.codes, (3, *shape)).astype(np.uint16)
        try:
            plain, compiled = with_and_without(lambda: decoder.decode(tokens, threads=2))  # noqa: B023
        except ModelError:  # no pixel would remain
            continue
        assert plain.dtype == compiled.dtype and (plain == compiled).all()


def test_blocks_after_the_last_window_have_their_bias():
    rng = np.random.default_rng(3)
    decoder = IntegerDecoder(unfolded_study_network(rng, codes=10_000, hidden=32))
    tokens = rng.integers(0, 10_000, (5, 3, 3))
    plain, compiled = with_and_without(lambda: decoder.decode(tokens))
    assert decoder._stages[0]._kept_fit and len(np.unique(plain)) > 9
    assert (plain == compiled).all()


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(3)
    network = study_network(rng, hidden=64)
    tokens = rng.integers(0, network.codes, (300, 7, 7)).astype(np.uint16)
    with kernels("never"):
        return network, tokens, IntegerDecoder(network).decode(tokens)


def kept_of(decoder):
    return decoder._stages[0]._kept()


def test_patches_are_kept_from_call_to_call(study, monkeypatch):
    network, tokens, pixels = study
    decoder, added = IntegerDecoder(network), []
    add = KeptPatches._add
    monkeypatch.setattr(KeptPatches, "_add", lambda self, patches: (added.append(len(patches)), add(self, patches)))
    with kernels("always"):
        for _ in range(2):
            for start in range(0, 300, 50):
                part = slice(start, start + 50)
                assert (decoder.decode(tokens[part]) == pixels[part]).all()
        assert (decoder.decode(tokens, threads=3) == pixels).all()
    assert sum(added[:6]) > 1000 and not any(added[6:])


@pytest.mark.parametrize(("first", "kept_bytes"), [(64, 0), (1024, 0), (1, 1 << 20), (1, 1 << 24)])
def test_it_forgets_what_there_is_no_room_for(study, monkeypatch, first, kept_bytes):
    network, tokens, pixels = study
    monkeypatch.setattr(windows_kernel, "_FIRST", first)
    monkeypatch.setattr(windows_kernel, "_KEPT_BYTES", kept_bytes)
    decoder = IntegerDecoder(network)
    with kernels("always"):
        for size in (1, 20, 20, 300):
            for start in range(0, 300, size):
                part = slice(start, start + size)
                assert (decoder.decode(tokens[part]) == pixels[part]).all()
        assert len(kept_of(decoder)._rows) <= max(first, kept_bytes // (4 * 4 * 16))


def test_windows_whose_patches_failed_are_made_again(study, monkeypatch):
    network, tokens, pixels = study
    decoder = IntegerDecoder(network)
    patches = WindowPair._patches
    with kernels("always"):
        monkeypatch.setattr(WindowPair, "_patches", lambda *_: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            decoder.decode(tokens)
        monkeypatch.setattr(WindowPair, "_patches", patches)
        assert (decoder.decode(tokens) == pixels).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_does_not_wait_for_a_thread_of_its_parent(study):
    network, tokens, pixels = study
    decoder = IntegerDecoder(network)
    with kernels("always"):
        decoder.decode(tokens[:1])
        with kept_of(decoder)._lock:
            child = os.fork()
            if not child:
                os._exit(0 if (decoder.decode(tokens[:9]) == pixels[:9]).all() else 1)
            assert os.waitpid(child, 0)[1] == 0


def test_threads_may_ask_at_once(study, monkeypatch):
    network, tokens, pixels = study
    monkeypatch.setattr(windows_kernel, "_FIRST", 2048)
    monkeypatch.setattr(windows_kernel, "_KEPT_BYTES", 0)
    decoder, wrong = IntegerDecoder(network), []

    def read(seed):
        rng = np.random.default_rng(seed)
        for _ in range(40):
            some = rng.integers(0, 300, 9)
            if not (decoder.decode(tokens[some]) == pixels[some]).all():
                wrong.append(some)

    with kernels("always"):
        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_windows_that_make_no_key_of_64_bits_are_made_by_numpy():
    rng = np.random.default_rng(0)
    network = study_network(rng, codes=2, hidden=2)
    stage = IntegerDecoder(network)._stages[0]
    assert stage._kept_fit
    wide = study_network(rng, codes=50_000, hidden=2)
    (stage,) = IntegerDecoder(wide)._stages
    assert not stage._kept_fit
    tokens = rng.integers(0, 50_000, (3, 4, 4))
    plain, compiled = with_and_without(lambda: IntegerDecoder(wide).decode(tokens))
    assert (plain == compiled).all()
