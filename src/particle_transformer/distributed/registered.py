"""A function that every worker has, also one that joins or is restarted later."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from distributed import Client, WorkerPlugin, get_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["registered", "registered_function"]

# Not the result of a task on which the others depend: those would all be sent to the worker that
# holds it. Nor scattered: lost with the worker that holds it.


class _Function(WorkerPlugin):  # type: ignore[misc]  # Dask is typed in part
    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function


@contextmanager
def registered(client: Client, function: Callable[..., Any]) -> Iterator[str]:
    """Send a function to all workers, and take it away afterwards.

    Yields
    ------
    str
        The name by which `registered_function` finds it.
    """
    name = f"aot-{uuid4().hex}"
    client.register_plugin(_Function(function), name=name)
    try:
        yield name
    finally:
        # A scheduler that has gone keeps nothing, and the error is on its way.
        if client.status == "running":
            with suppress(OSError):
                client.unregister_worker_plugin(name)


def registered_function(name: str) -> Callable[..., Any]:
    """Find a function on the worker that this runs on."""
    plugin: _Function = get_worker().plugins[name]
    return plugin.function
