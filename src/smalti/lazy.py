"""Properties that are computed once, without a lock.

`functools.cached_property` has a lock of its class until Python 3.12, one for all instances. A process that is forked
while a thread of its parent computes such a property would wait for that thread for ever. Here two threads at once may
both compute a value, which must not matter; then one value is kept.

Layer: beside `errors`, the lowest.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

__all__ = ["cached_property"]

T = TypeVar("T")


class cached_property(Generic[T]):  # noqa: N801 (it stands for the one of functools)
    """A method without arguments as an attribute, whose value the instance's `__dict__` keeps."""

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
