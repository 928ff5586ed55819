"""The cosine basis and the lapped filter: fixed matrices that learned ones are stored as differences to.

The lapped filter goes across the border of two cells. With the cosine transform of each cell it is the lapped
orthogonal transform (Malvar 1992), in the form of a filter before a block transform (Tran, Liang & Tu 2003).
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["cosine_basis", "lapped_filter", "whole_bases"]

Floats = NDArray[np.float64]


def cosine_basis(side: int) -> Floats:
    """The orthonormal cosine transform [b, b]; row u is the basis function of frequency u."""
    place = np.arange(side)
    basis = np.cos(np.pi * (2 * place[None] + 1) * place[:, None] / (2 * side)) * np.sqrt(2 / side)
    basis[0] /= np.sqrt(2)
    return np.asarray(basis)


def lapped_filter(side: int) -> Floats:
    """The orthogonal filter [b, b] of the pixels across a border of cells, before the transform."""
    half = side // 2
    place = np.arange(half)
    fourth = np.cos(np.pi * (2 * place[None] + 1) * (2 * place[:, None] + 1) / (4 * half)) * np.sqrt(2 / half)
    flip, one, zero = np.eye(half)[::-1], np.eye(half), np.zeros((half, half))
    butterfly = np.block([[one, flip], [flip, -one]]) / np.sqrt(2)
    middle = np.block([[one, zero], [zero, flip @ cosine_basis(half).T @ fourth @ flip]])
    return np.asarray(butterfly @ middle @ butterfly)


@cache
def whole_bases(side: int, bits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cosine basis and the filter that undoes the lapped one, in units of 2**-bits, rounded to the nearest."""
    basis, filter_ = (
        np.floor(matrix * 2**bits + 0.5).astype(np.int64) for matrix in (cosine_basis(side), lapped_filter(side).T)
    )
    return basis, filter_
