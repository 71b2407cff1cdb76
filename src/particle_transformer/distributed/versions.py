"""The same version of this package everywhere: tasks and results are its own objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from particle_transformer._version import __version__
from particle_transformer.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed import Client

__all__ = ["check_versions", "wrong_version"]


def check_versions(client: Client) -> None:
    """Compare the version of this package on the scheduler and all workers with this program's.

    Raises
    ------
    ClusterError
        If one has another version, or none.
    """
    find = _version_finder()
    # The scheduler too: it unpickles what it passes on.
    found = {f"scheduler {client.scheduler.address}": client.run_on_scheduler(find)}
    found |= {f"worker {name}": version for name, version in client.run(find).items()}
    for name, version in found.items():
        if version != __version__:
            raise wrong_version(name, version, __version__)


def wrong_version(name: str, found: str | None, expected: str) -> ClusterError:
    """The error that says that `name` has the version `found` instead of `expected`."""
    has = f"has version {found} of" if found else "does not have"
    return ClusterError(
        f"Dask {name} {has} analysis-object-transformer, this program is version {expected}; "
        f"install the same version there"
    )


def _version_finder() -> Callable[[], str | None]:
    # Nested, hence sent by value: it also runs where this package is not installed.
    def find() -> str | None:
        try:
            from particle_transformer import __version__  # noqa: PLC0415
        except ImportError:
            return None
        return __version__

    return find
