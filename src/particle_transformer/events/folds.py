"""Folds and validation splits: a hash of the event's identity, the same everywhere, for ever.

The hash only multiplies, adds and takes remainders of int64 numbers below 2⁶³, so that numpy,
torch and an ONNX graph give the same number bit for bit. It is MiMC (arXiv:ePrint 2016/492) over
the integers modulo the Mersenne prime p = 2³¹ − 1: each part of the identity is added to the
state, then `ROUNDS` rounds h → (h + c_r)⁵ mod p follow. The fifth power permutes the residues
because gcd(5, p − 1) = 1. Test vectors are published in ``docs/folds.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from particle_transformer.errors import SampleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "PRIME", "ROUND_CONSTANTS", "absorbed", "fold_of", "identity_hash", "is_validation",
    "split_roles",
]  # fmt: skip

Integers = TypeVar("Integers", bound=Any)

PRIME = 2**31 - 1

# Nothing up the sleeve: the first four bytes (big-endian) of
# SHA-256("analysis-object-transformer fold round r"), modulo p, for r = 0 … 7.
ROUND_CONSTANTS = (
    1_043_382_537, 1_805_956_722, 1_809_934_641, 565_198_424,
    892_627_425, 1_785_552_805, 646_778_933, 1_196_154_456,
)  # fmt: skip

VALIDATION_DENOMINATOR = 5
"""One event in five of those a network may see is its validation set."""


def identity_hash(identity: NDArray[np.int64], salt: int) -> NDArray[np.int64]:
    """Hash event identities to residues modulo p = 2³¹ − 1.

    Parameters
    ----------
    identity
        int64 (events, parts): the event number, or run, luminosity section and event number.
        Unsigned 64-bit numbers are to be reinterpreted as int64.
    salt
        Distinguishes independent splits: 0 for the folds, 1 + f for the validation set of the
        network of fold f.

    Returns
    -------
    int64 (events,)
        Residues in [0, p).
    """
    state = np.full(identity.shape[0], salt % PRIME, dtype=np.int64)
    for part in range(identity.shape[1]):
        state = absorbed(state, identity[:, part])
    return state


def absorbed(state: Integers, part: Integers) -> Integers:
    """The state of the hash after one more part of the identity.

    Parameters
    ----------
    state, part
        int64 (events,), of numpy or of torch: the operations are those of both, and of ONNX.
    """
    state = (state + part % PRIME) % PRIME
    for constant in ROUND_CONSTANTS:
        state = (state + constant) % PRIME
        square = state * state % PRIME
        state = square * square % PRIME * state % PRIME
    return state


def fold_of(identity: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """Fold of each event: identity_hash(identity, salt=0) mod `folds`; int64 (events,).

    Examples
    --------
    Two of the test vectors in docs/folds.md:

    >>> import numpy as np
    >>> from particle_transformer.events import fold_of
    >>> fold_of(np.array([[0], [1152921504606846977]]), folds=5).tolist()
    [0, 4]
    """
    return identity_hash(identity, 0) % folds


def is_validation(identity: NDArray[np.int64], fold: int) -> NDArray[np.bool_]:
    """Whether each event falls in the 20 % validation split of the network of `fold`.

    The split is independent of the folds; events of `fold` itself are in neither side.
    """
    chosen: NDArray[np.bool_] = identity_hash(identity, 1 + fold) % VALIDATION_DENOMINATOR == 0
    return chosen


def validation_scale(folds: int, share: float = 1 / VALIDATION_DENOMINATOR) -> float:
    """By what yields of one network's validation events are multiplied to be those of all events.

    Parameters
    ----------
    folds
        How many networks there are.
    share
        Share of the events outside a fold that are the validation set of its network.
    """
    return 1 / (share * (1 - 1 / folds))


def split_roles(
    identity: NDArray[np.int64], fold: int, folds: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Split events into the roles they have for the network of one fold.

    Parameters
    ----------
    identity
        int64 (events, parts).
    fold, folds
        The network's fold, and how many there are.

    Returns
    -------
    training, validation, test : int64 arrays of event indices
        Disjoint, together all events. The network never reads the test events in any way.

    Raises
    ------
    SampleError
        If `folds` is below 2 or `fold` is not one of them.

    Examples
    --------
    >>> import numpy as np
    >>> from particle_transformer.events import split_roles
    >>> training, validation, test = split_roles(np.arange(1000)[:, np.newaxis], fold=0, folds=5)
    >>> len(training) + len(validation) + len(test)
    1000
    """
    if folds < 2 or not 0 <= fold < folds:
        message = f"fold {fold} of {folds}: expected at least 2 folds and 0 <= fold < folds"
        raise SampleError(message)
    own = fold_of(identity, folds) == fold
    validation = is_validation(identity, fold) & ~own
    training = ~own & ~validation
    return np.flatnonzero(training), np.flatnonzero(validation), np.flatnonzero(own)
