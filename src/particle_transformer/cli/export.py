"""The command ``aot export``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import Annotated

import typer

from particle_transformer.cli.progress import say

__all__ = ["export"]


class Target(StrEnum):
    """What a run is exported to."""

    HUB = "hub"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory.")],
    to: Annotated[Target, typer.Option(help="What for: hub, a folder for the Hugging Face Hub.")],
    out: Annotated[Path, typer.Option(help="What is written; new.")],
    push: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Upload it as this repository, too.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="A new repository is private.")
    ] = False,
) -> None:
    """Write the networks of a run for other programs."""
    del to  # a single one
    to_hub(run, out, push, private=private)


def to_hub(run: Path, out: Path, push: str | None, *, private: bool) -> None:
    """Export for the Hub, and push where asked for."""
    from particle_transformer.artefact.run_folder import open_run
    from particle_transformer.hub.folder import export_run
    from particle_transformer.network_files import hub

    export_run(open_run(run), out, repository=push)
    if push is not None:
        say(f"pushed {hub.push(out, push, private=private)}")
    say(f"exported {out}")
