"""Properties that are computed once, without a lock.

Until Python 3.12, `functools.cached_property` has one lock for all instances of a class. If a process forks while one
of its threads computes such a property, the child waits for that thread for ever. Without a lock, two threads may
compute a value at the same time, which must do no harm; one of the two values stays.

Layer: the lowest, beside `errors`.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

__all__ = ["cached_property"]

T = TypeVar("T")


class cached_property(Generic[T]):  # noqa: N801 (it replaces the one of functools)
    """A method without arguments as an attribute. The instance's `__dict__` keeps the value."""

    def __init__(self, method: Callable[[Any], T]) -> None:
        self._method = method
        self._name = method.__name__
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> "cached_property[T]": ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> "cached_property[T] | T":
        if instance is None:
            return self
        value: T = instance.__dict__.setdefault(self._name, self._method(instance))
        return value
