"""The command `aot predict`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads it)
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from particle_transformer.cli.commands import Unblind  # noqa: TC001 (typer reads it)
from particle_transformer.cli.progress import Progress, say
from particle_transformer.errors import AnalysisFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from particle_transformer.data import Runner
    from particle_transformer.inference.predict import Predicted

__all__ = ["predict"]


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Files to score: paths or URLs.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the scores.")],
    output_format: Annotated[
        Literal["friend", "copy", "parquet"] | None,
        typer.Option(
            "--format",
            help="friend: a tree of scores for ROOT's AddFriend; copy: the input with the scores "
            "as further branches; parquet. By default a friend of ROOT files, Parquet of others.",
        ),
    ] = None,
    process: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Process of files that the analysis file does not name."),
    ] = None,
    era: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Era of files that the analysis file does not name."),
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE,...",
            help="Hypothesis to score under, as mass=900; may be repeated. By default all that "
            "the networks were trained with.",
        ),
    ] = None,
    fill: Annotated[
        float, typer.Option(help="The value of what has no score: no probability is negative.")
    ] = -1.0,
    ensemble: Annotated[
        bool,
        typer.Option(
            "--ensemble/--no-ensemble", help="Also give the mean over the networks of all folds."
        ),
    ] = True,
    unseen: Annotated[
        bool,
        typer.Option(
            "--unseen",
            help="The files hold no event that the networks were trained with: give simulated "
            "events in signal regions an ensemble mean, too.",
        ),
    ] = False,
    unblind: Unblind = False,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS|local[N]",
            help="Score on a Dask cluster: the address of its scheduler, or N processes here.",
        ),
    ] = None,
) -> None:
    """Score every event of files by the network of its own fold; write the scores beside them.

    What is there already is not made again; a command that was interrupted goes on.
    """
    from particle_transformer.data.tasks import in_order
    from particle_transformer.inference.predict import ScoreOptions
    from particle_transformer.inference.predict import predict as score

    options = ScoreOptions(tuple(map(_hypothesis, at or ())), ensemble, fill, unblind, unseen)

    def with_runner(runner: Runner, progress: Progress) -> list[Predicted]:
        return score(
            run, files, out, output_format=output_format, process=process, era=era,
            options=options, runner=runner, progress=progress,
        )  # fmt: skip

    try:
        with Progress() as progress:
            if dask is None:
                written = with_runner(in_order, progress)
            else:
                from particle_transformer.distributed import DaskRunner, connect

                with connect(dask) as client:
                    written = with_runner(DaskRunner(client), progress)
    except KeyboardInterrupt:
        typer.echo(f"{out}: what was scored is kept; run again to go on", err=True)
        raise
    for each in written:
        say(f"{'scores' if each.made else 'scored before:'} {each.path}: {_summary(each)}")


def _hypothesis(text: str) -> dict[str, float]:
    """What ``--at mass=900,width=10`` gives."""
    found = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            message = f"--at: got {text!r}, expected NAME=VALUE, or several behind commas"
            raise AnalysisFileError(message) from None
    return found


def _summary(written: Predicted) -> str:
    """What is to be known of an output, in words."""
    said, counts = written.provenance, written.provenance["counts"]
    parts = [f"{counts['entries']} events, {counts['selected']} in a region"]
    if counts["selected"] < counts["entries"]:
        parts[0] += f", the others have {said['fill']:g}"
    if blinded := said.get("blinded"):
        names = ", ".join(blinded)
        parts.append(f"recorded events of blind regions ({names}) are in none without --unblind")
    if said["ensemble"] and counts["refused"]:
        parts.append(
            f"no ensemble mean for {counts['refused']} simulated events in signal regions, which "
            "networks may have been trained with"
        )
    parts += _listed(counts["truncated"], "{count} {name} beyond max, not seen as in the training")
    parts += _listed(counts["non_finite"], "no score for {count} events with {name} not finite")
    if left_out := said.get("left_out"):
        parts.append(f"left out: {', '.join(left_out)}")
    return "; ".join(parts)


def _listed(counts: dict[str, int], text: str) -> Sequence[str]:
    return [text.format(name=name, count=count) for name, count in counts.items() if count]
