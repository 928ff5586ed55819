"""Processes that join one group, for tests of several ranks.

A scenario is a function of the group and a folder that returns JSON. Both ranks run all scenarios of a test one after
another, since starting a process takes longer than any of them.
"""

import json
import os
import socket
from multiprocessing import get_context

import numpy as np
import pytest
import torch

RANKS = 2


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment(rank, port):
    """Return the environment variables that torchrun sets for a rank."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(RANKS),
        "LOCAL_WORLD_SIZE": str(RANKS),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def _work(work, rank, port, folder, arguments):
    os.environ.update(environment(rank, port))
    torch.set_num_threads(1)
    (folder / f"rank{rank}.json").write_text(json.dumps(work(rank, folder, *arguments)))


def run_ranks(work, folder, *arguments, seconds=120):
    """Run `work(rank, folder, *arguments)` in two processes; return exit codes and results (None without a result)."""
    port = free_port()
    context = get_context("spawn")
    tasks = [context.Process(target=_work, args=(work, rank, port, folder, arguments)) for rank in range(RANKS)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join(seconds)
    hung = [task for task in tasks if task.is_alive()]
    for task in hung:
        task.kill()
    assert not hung, "a rank hung"
    results = [folder / f"rank{rank}.json" for rank in range(RANKS)]
    codes = [task.exitcode for task in tasks]
    return codes, [json.loads(path.read_text()) if path.exists() else None for path in results]


def weights_close(path, network, **tolerance):
    """Assert that the arrays in an .npz are close to those of a network."""
    with np.load(path) as stored:
        for name, value in network.state_dict().items():
            np.testing.assert_allclose(stored[name], value.numpy(), err_msg=name, **tolerance)


def save_weights(path, network):
    np.savez(path, **{name: value.numpy() for name, value in network.state_dict().items()})


def failure(call, *kinds):
    """Return the name and the message of the error that a call must raise."""
    with pytest.raises(kinds or Exception) as caught:
        call()
    return [type(caught.value).__name__, str(caught.value)]
