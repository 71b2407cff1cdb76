"""The command `aot`: its options, and errors as one line."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from particle_transformer._version import __version__
from particle_transformer.cli import commands, export, predict
from particle_transformer.errors import AOTError, OtherRankError

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells give it: 128 + SIGINT."""

app = typer.Typer(
    name="aot",
    help="Classify LHC events from analysis objects: files in, sensitivity out.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
app.command()(commands.demo)
app.command()(commands.simulate)
app.command()(commands.validate)
app.command()(commands.prepare)
app.command()(commands.train)
app.command()(commands.evaluate)
app.command()(predict.predict)
app.command()(commands.tune)
app.command()(commands.compare)
app.command()(commands.explain)
app.command()(export.export)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Classify LHC events from analysis objects: files in, sensitivity out."""
    del version, debug  # handled before: by the callback, and in main


def main() -> None:
    """Run the command line; a user's mistake is one line and exit status 1."""
    debug = "--debug" in sys.argv
    try:
        app(["--debug"] * debug + [word for word in sys.argv[1:] if word != "--debug"])
    except SystemExit as leaving:
        if leaving.code == INTERRUPTED:
            _fail("interrupted", INTERRUPTED)
        raise
    except OtherRankError:
        if debug:
            raise
        sys.exit(1)
    except AOTError as error:
        if debug:
            raise
        _fail(str(error), 1)
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", 1)


def _fail(message: str, status: int) -> None:
    typer.echo(f"aot: {' '.join(message.split())}", err=True)
    sys.exit(status)
