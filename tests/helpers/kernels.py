"""Runs with and without the kernels that Numba compiles."""

import os
from contextlib import contextmanager

import pytest

pytest.importorskip("numba", reason="kernels need smalti[fast]")


@contextmanager
def kernels(wanted):
    """Use kernels "always" or "never"."""
    before = os.environ.get("SMALTI_KERNELS")
    os.environ["SMALTI_KERNELS"] = wanted
    try:
        yield
    finally:
        if before is None:
            del os.environ["SMALTI_KERNELS"]
        else:
            os.environ["SMALTI_KERNELS"] = before


def with_and_without(work):
    """What a function returns without kernels, and with them."""
    results = []
    for wanted in ("never", "always"):
        with kernels(wanted):
            results.append(work())
    return results
