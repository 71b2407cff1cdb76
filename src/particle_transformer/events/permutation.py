"""A pseudo-random order of any number of events, computed position by position.

The order of an epoch is never stored: a keyed bijection of {0, …, N − 1} says which event stands
at which position. It is a Feistel network on the mixed-radix numbers L + a R with a = ⌈√N⌉,
b = ⌈N / a⌉, 0 ≤ L < a, 0 ≤ R < b (the generalised Feistel cipher of Black and Rogaway, "Ciphers
with arbitrary finite domains", CT-RSA 2002): `ROUNDS` rounds, L ← (L + F(R)) mod a and
R ← (R + F(L)) mod b in turn, are a bijection of the a b < N + a numbers whatever F is. A result
that is not below N is put in again until one is (cycle walking), which keeps it a bijection.
F is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) of its argument plus the
round's key; the keys are SplitMix64 numbers of a state mixed from the given key. The order is
well mixed; it is not cryptographically secret.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Permutation"]

ROUNDS = 12
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_MASK = 2**64 - 1


class Permutation:
    """A bijection of {0, …, size − 1} that depends on nothing but `size` and `key`.

    Parameters
    ----------
    size
        At least 1.
    key
        Integers, for instance seed and epoch; other keys give unrelated orders.
    """

    def __init__(self, size: int, *key: int) -> None:
        self.size = size
        self._low = math.isqrt(size - 1) + 1  # ⌈√size⌉
        self._high = -(-size // self._low)
        state = 0
        for part in key:
            state = _mix((state + _GOLDEN + part) & _MASK)
        self._keys = [_mix((state + number * _GOLDEN) & _MASK) for number in range(1, ROUNDS + 1)]

    def __len__(self) -> int:
        return self.size

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers at `positions`.

        Parameters
        ----------
        positions
            int64 (selected,), each in [0, size).

        Returns
        -------
        int64 (selected,)
            In [0, size), different for different positions.
        """
        found = self._once(positions.astype(np.uint64))
        outside = np.flatnonzero(found >= self.size)
        while outside.size:
            found[outside] = self._once(found[outside])
            outside = outside[found[outside] >= self.size]
        return found.astype(np.int64)

    def _once(self, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
        low, high = np.uint64(self._low), np.uint64(self._high)
        right, left = np.divmod(numbers, low)
        for number, key in enumerate(self._keys):
            if number % 2:
                right = (right + _mix_array(left, key) % high) % high
            else:
                left = (left + _mix_array(right, key) % low) % low
        joined: NDArray[np.uint64] = right * low + left
        return joined


def _mix(value: int) -> int:
    """SplitMix64's finaliser."""
    value = (value ^ (value >> 30)) * _FIRST & _MASK
    value = (value ^ (value >> 27)) * _SECOND & _MASK
    return value ^ (value >> 31)


def _mix_array(values: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """The same of `values` plus `key`, modulo 2⁶⁴ like all arithmetic of unsigned arrays."""
    mixed = values + np.uint64(key)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(_FIRST)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(_SECOND)
    mixed ^= mixed >> np.uint64(31)
    return mixed
