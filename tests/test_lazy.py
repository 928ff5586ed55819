import multiprocessing
import threading

import pytest

from smalti.lazy import cached_property


class Squares:
    def __init__(self, number):
        self.number, self.computed = number, 0

    @cached_property
    def square(self):
        """Return the square of the number."""
        self.computed += 1
        return self.number**2


def test_a_value_is_computed_once():
    nine = Squares(3)
    assert (nine.square, nine.square, nine.computed) == (9, 9, 1)
    assert Squares(4).square == 16
    assert Squares.square.__doc__ == "Return the square of the number."


class Waiting:
    def __init__(self, begun, done):
        self.begun, self.done = begun, done

    @cached_property
    def value(self):
        self.begun.set()
        return self.done.wait(60)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
def test_a_forked_process_waits_for_no_thread_of_its_parent():
    begun, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: Waiting(begun, done).value)
    thread.start()
    begun.wait()
    other = threading.Event()
    other.set()
    child = multiprocessing.get_context("fork").Process(target=lambda: Waiting(threading.Event(), other).value)
    child.start()
    child.join(30)
    ended = child.exitcode
    child.kill()
    done.set()
    thread.join()
    assert ended == 0
