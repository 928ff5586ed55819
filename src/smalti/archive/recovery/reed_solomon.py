"""The Reed-Solomon code over GF(256), as matrices that are applied to whole sections at once.

The library reedsolo encodes unit vectors: the parity of each is a column of the generator matrix. A matrix is applied
to sections by table look-ups and XORs, with one table of 256 products for each coefficient.
"""

import importlib
from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from smalti.errors import MissingDependencyError

__all__ = ["ErasureCode", "Mixture", "erasure_code", "require_reedsolo"]

_POLYNOMIAL = 0x11D  # of the field; its generator is 2


def require_reedsolo() -> ModuleType:
    """Return the library. MissingDependencyError if it is not installed: call this before long work."""
    try:
        reedsolo = importlib.import_module("reedsolo")
    except ModuleNotFoundError as error:
        raise MissingDependencyError.of("recovery", error.name, "recovery") from error
    reedsolo.init_tables(_POLYNOMIAL)  # the module's own tables, which another user of it may have changed
    return reedsolo


class ErasureCode:
    """The systematic code of n members and m parity rows, n + m <= 255. Any n of the n + m determine the others.

    generator : uint8 [m, n]; row r of the parity is the sum over i of generator[r, i] * member i
    """

    def __init__(self, members: int, parity: int) -> None:
        self.generator: NDArray[np.uint8] = np.empty((parity, members), np.uint8)
        library = require_reedsolo()
        polynomial = library.rs_generator_poly(parity)
        for column in range(members):
            word = library.rs_encode_msg(_unit(members, column), parity, gen=polynomial)
            self.generator[:, column] = list(word[members:])

    def inverse(self, lost: Sequence[int], rows: Sequence[int]) -> NDArray[np.uint8]:
        """uint8 [e, e]: the matrix that restores e lost members from e rows of parity less the other members' part.

        By Gauss-Jordan elimination. Every square part of the generator has an inverse: this is what the code needs.
        """
        count = len(lost)
        work = np.concatenate([self.generator[np.ix_(rows, lost)], np.eye(count, dtype=np.uint8)], axis=1)
        for pivot in range(count):
            chosen = pivot + int(np.flatnonzero(work[pivot:, pivot])[0])
            work[[pivot, chosen]] = work[[chosen, pivot]]
            work[pivot] = _product(work[pivot], _reciprocal(int(work[pivot, pivot])))
            for other in np.flatnonzero(work[:, pivot]).tolist():
                if other != pivot:
                    work[other] ^= _product(work[pivot], int(work[other, pivot]))
        return work[:, count:]


@lru_cache(maxsize=4)
def erasure_code(members: int, parity: int) -> ErasureCode:
    """The code of n members and m parity rows, cached: making a large one takes seconds."""
    return ErasureCode(members, parity)


class Mixture:
    """The product of a matrix and sections, which are added one at a time. Memory: that of the product.

    coefficients : uint8 [rows, n]; sections are padded with zeros to the longest
    """

    def __init__(self, coefficients: NDArray[np.uint8]) -> None:
        self._coefficients = coefficients
        self._sums = np.zeros((len(coefficients), 0), np.uint8)

    def add(self, position: int, section: bytes) -> None:
        """Add the product of column `position` and a section to every row."""
        self._lengthen(len(section))
        for total, coefficient in zip(self._sums, self._coefficients[:, position].tolist(), strict=True):
            total[: len(section)] ^= np.frombuffer(section.translate(_times(coefficient)), np.uint8)

    def add_to_row(self, row: int, data: bytes) -> None:
        """Add bytes to one row."""
        self._lengthen(len(data))
        self._sums[row, : len(data)] ^= np.frombuffer(data, np.uint8)

    def rows(self) -> list[bytes]:
        """The rows of the product, each as long as the longest section."""
        return [total.tobytes() for total in self._sums]

    def _lengthen(self, length: int) -> None:
        missing = length - self._sums.shape[1]
        if missing > 0:
            self._sums = np.pad(self._sums, ((0, 0), (0, missing)))


@lru_cache(maxsize=256)
def _times(coefficient: int) -> bytes:
    """The products of a number with 0, 1, ..., 255."""
    library = require_reedsolo()
    return bytes(library.gf_mul(coefficient, number) for number in range(256))


def _reciprocal(number: int) -> int:
    return _times(number).index(1)


def _product(row: NDArray[np.uint8], coefficient: int) -> NDArray[np.uint8]:
    return np.frombuffer(row.tobytes().translate(_times(coefficient)), np.uint8)


def _unit(length: int, position: int) -> bytearray:
    vector = bytearray(length)
    vector[position] = 1
    return vector
