"""Worker processes, started in every way: they give images in the sampler's order, and never wait for a dead lock."""

import multiprocessing
import os
import subprocess
import sys
import threading

import pytest
import torch
from torch.utils.data import DataLoader, get_worker_info

from helpers.web_server import Served, serve
from smalti.archive.read import store
from smalti.interop.torch.dataset import ArchiveDataset
from smalti.interop.torch.sampler import BlockShuffleSampler

METHODS = [method for method in ("fork", "spawn", "forkserver") if method in multiprocessing.get_all_start_methods()]


def with_process(image):
    """A picklable transform that adds the process that read the image."""
    info = get_worker_info()
    assert info is not None
    return image, os.getpid()


def loader(dataset, method, **options):
    sampler = BlockShuffleSampler(dataset, 1, window_blocks=3)
    return DataLoader(
        dataset, 8, sampler=sampler, num_workers=2, multiprocessing_context=method, timeout=120, **options
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_same_images_in_the_same_order(grey, method):
    dataset = ArchiveDataset(grey.path, transform=with_process)
    order, processes = list(BlockShuffleSampler(dataset, 1, window_blocks=3)), set()
    loaded = loader(dataset, method, persistent_workers=True)
    for _ in range(2):
        images, labels = [], []
        for (pixels, process), found in loaded:
            images.append(pixels)
            labels += found.tolist()
            processes |= set(process.tolist())
        assert (torch.cat(images).numpy()[:, 0] == grey.pixels[order]).all()
        assert labels == grey.labels[order].tolist()
    assert len(processes) == 2 and os.getpid() not in processes


@pytest.mark.skipif("fork" not in METHODS, reason="this system cannot fork")
def test_forked_while_another_thread_reads_from_the_archive(grey, monkeypatch):
    """A child must not wait for a lock of its parent's archive: its holder does not exist in the child."""
    dataset, parent = ArchiveDataset(grey.path), os.getpid()
    inside, done, unpack = threading.Event(), threading.Event(), store.unpack_model

    def slowly(*arguments):
        if os.getpid() == parent:
            inside.set()
            done.wait(240)
        return unpack(*arguments)

    monkeypatch.setattr(store, "unpack_model", slowly)
    thread = threading.Thread(target=lambda: dataset.archive[0])
    thread.start()
    inside.wait()
    try:
        labels = [label for _, found in loader(dataset, "fork") for label in found.tolist()]
    finally:
        done.set()
        thread.join()
    assert sorted(labels) == sorted(grey.labels.tolist())


@pytest.mark.skipif("fork" not in METHODS, reason="this system cannot fork")
def test_a_forked_process_opens_its_own_archive(grey):
    dataset = ArchiveDataset(grey.path)
    dataset.close()
    dataset.archive.close()  # the parent's archive is closed: its use would raise
    batches = list(loader(dataset, "fork"))
    assert sum(len(labels) for _, labels in batches) == 130


def test_without_torch_the_missing_extra_is_named():
    code = "import sys; sys.modules['torch'] = None\nimport smalti\ntry:\n    import smalti.interop.torch\n"
    code += "except smalti.MissingDependencyError as error:\n    print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith('needs torch, which is not installed; pip install "smalti[train]"')


@pytest.mark.skipif("fork" not in METHODS, reason="this system cannot fork")
def test_forked_workers_read_from_a_url(grey):
    served = Served({"grey.smalti": grey.path.read_bytes()})
    stop = serve(served)
    try:
        dataset = ArchiveDataset(served.url + "grey.smalti")
        assert dataset[3][1] == grey.labels[3]  # the parent's connection is in use
        labels = [label for _, found in loader(dataset, "fork") for label in found.tolist()]
    finally:
        stop()
    assert labels == grey.labels[list(BlockShuffleSampler(dataset, 1, window_blocks=3))].tolist()
