"""What each command does; heavy libraries are imported when a command runs."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from particle_transformer.cli.progress import Progress, say
from particle_transformer.errors import AnalysisFileError, RankError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lightning.pytorch import Callback

    from particle_transformer.config import Analysis
    from particle_transformer.training.task import NetworkTask

__all__ = [
    "compare", "demo", "evaluate", "explain", "prepare", "simulate", "train", "tune", "validate",
]  # fmt: skip

AnalysisFile = Annotated[Path, typer.Argument(metavar="FILE", help="The analysis file (YAML).")]
Unblind = Annotated[bool, typer.Option("--unblind", help="Read data in blind regions, too.")]

LHC_LUMINOSITY = 4000.0
"""What the LHC will deliver to an experiment at the most, in fb⁻¹ (CERN-2020-010)."""


def validate(file: AnalysisFile) -> None:
    """Check an analysis file, and that every input file has what it names."""
    from particle_transformer.data import check_inputs

    analysis = _load(file)
    inputs = check_inputs(analysis)
    say(
        f"{file}: valid; {len(analysis.processes)} processes, {len(inputs)} files, "
        f"{sum(entries for _, entries in inputs)} entries"
    )


def prepare(
    file: AnalysisFile,
    out: Annotated[Path, typer.Option(help="Folder of the prepared store.")],
    unblind: Unblind = False,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS|local[N]",
            help="Read on a Dask cluster: the address of its scheduler, or N processes here.",
        ),
    ] = None,
) -> None:
    """Read the input files, select events and write the prepared store.

    What is there already is not read again; a preparation that was interrupted goes on.
    """
    from particle_transformer.cli.tables import print_cutflow
    from particle_transformer.data import Store
    from particle_transformer.data import prepare as run

    analysis = _load(file)
    try:
        with Progress() as progress:
            if dask is None:
                run(analysis, out, unblind=unblind, progress=progress)
            else:
                from particle_transformer.distributed import DaskRunner, connect

                with connect(dask) as client:
                    runner = DaskRunner(client)
                    run(analysis, out, unblind=unblind, runner=runner, progress=progress)
    except KeyboardInterrupt:
        typer.echo(f"{out}: the chunks that were read are kept; run again to go on", err=True)
        raise
    print_cutflow(Store(out).manifest)
    say(f"prepared {out}")


def train(
    file: AnalysisFile,
    out: Annotated[Path, typer.Option(help="The run directory; new, unless resumed.")],
    store: Annotated[
        Path | None, typer.Option(help="A prepared store to use; else RUN/store is made.")
    ] = None,
    unblind: Unblind = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a training that has not ended.")
    ] = False,
    devices: Annotated[
        int, typer.Option(min=1, help="Processes that train each network together, one per GPU.")
    ] = 1,
    plots: Annotated[
        bool,
        typer.Option(
            "--plots/--no-plots",
            help="Draw scores, ROC curve and correlations after each epoch, into RUN/logs.",
        ),
    ] = True,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="pretrained|PATH",
            help="Begin from the network that comes with aot, another one, or a run's; overrides "
            "training.init of the file.",
        ),
    ] = None,
) -> None:
    """Train the networks of every fold.

    Started by torchrun or srun, each of their tasks is one of the processes.
    """
    from particle_transformer.training.ranks import joined, started_as

    with _resumable(out):
        if devices > 1 and started_as().size == 1:
            _launch(file, devices, init=init)
            return
        with joined() as ranks:
            if devices not in (1, ranks.per_node):
                message = (
                    f"--devices {devices}: torchrun or srun started {ranks.per_node} processes on "
                    "this machine; leave --devices out"
                )
                raise RankError(message)
            if ranks.rank:
                _train_silently(file, out, store=store, unblind=unblind, resume=resume, init=init)
            else:
                _train(
                    file, out, store=store, unblind=unblind, resume=resume, plots=plots, init=init
                )


@contextmanager
def _resumable(out: Path) -> Iterator[None]:
    """Say after Ctrl-C that the training can go on."""
    from particle_transformer.artefact.run_folder import RunFolder

    try:
        yield
    except KeyboardInterrupt:
        if RunFolder(out).unfinished.exists():
            typer.echo(f"{out}: what was done is kept; give --resume to go on", err=True)
        raise


def _train(
    file: Path,
    out: Path,
    *,
    store: Path | None,
    unblind: bool,
    resume: bool,
    plots: bool,
    init: str | None,
) -> None:
    """Train as the only process, or the one of several that prints."""
    from particle_transformer.artefact.run_folder import RunFolder
    from particle_transformer.cli.tables import print_training
    from particle_transformer.training.run import train as run
    from particle_transformer.training.unfinished import is_finished

    analysis = _load(file, init)
    callbacks = _epoch_plots(out) if plots else None
    before = resume and is_finished(RunFolder(out))
    with Progress() as progress:
        run(
            analysis,
            out,
            store=store,
            unblind=unblind,
            resume=resume,
            progress=progress,
            callbacks=callbacks,
        )
    print_training(out)
    say(f"trained before: {out}" if before else f"trained {out}")


def _launch(file: Path, devices: int, *, init: str | None) -> None:
    """Run this command line as several processes."""
    import sys

    from particle_transformer.training.launch import launch

    _load(file, init)  # a mistake in it is told before anything is started
    status = launch(["-m", "particle_transformer.cli", *sys.argv[1:]], devices)
    if status:
        raise typer.Exit(status)


def _train_silently(
    file: Path, out: Path, *, store: Path | None, unblind: bool, resume: bool, init: str | None
) -> None:
    """Train as one of the ranks that print nothing."""
    import warnings

    from particle_transformer.config import load_analysis
    from particle_transformer.training.run import train as run

    warnings.simplefilter("ignore")
    analysis = _begin_from(load_analysis(file), init)
    run(analysis, out, store=store, unblind=unblind, resume=resume)


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    before: Annotated[
        Path | None,
        typer.Option(
            metavar="OTHER_RUN",
            help="A run on the same events to show beside it, such as one before decorrelation.",
        ),
    ] = None,
) -> None:
    """Score every event by the network of its own fold; write metrics and the report."""
    from particle_transformer.cli.tables import print_metrics

    with Progress() as progress:
        from particle_transformer.report.run import evaluate as compute

        metrics, report = compute(run, before=before, progress=progress)
    print_metrics(metrics)
    say(f"metrics {run / 'evaluation' / 'metrics.json'}")
    say(f"report {report}")


def tune(
    file: AnalysisFile,
    out: Annotated[Path, typer.Option(help="Folder of the study.")],
    store: Annotated[
        Path | None, typer.Option(help="A prepared store to use; else DIR/store is made.")
    ] = None,
    unblind: Unblind = False,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS|local[N]",
            help="Run trials on a Dask cluster: the address of its scheduler, or N processes here.",
        ),
    ] = None,
) -> None:
    """Search for the settings with the lowest validation loss.

    Run again, also on other machines at the same time, it goes on with the same study.
    """
    from particle_transformer.errors import require

    # Now, not after hours: the plot comes last.
    for module, extra in (("optuna", "tune"), ("matplotlib", "tune"), ("mplhep", "tune")):
        require(module, extra)
    from particle_transformer.cli.tables import print_trials
    from particle_transformer.report.study_plot import study_plot, write_study_plot
    from particle_transformer.report.style import styled
    from particle_transformer.studies import tune as run

    analysis = _load(file)
    try:
        with Progress() as progress:
            if dask is None:
                result = run(analysis, out, store=store, unblind=unblind, progress=progress)
            else:
                from particle_transformer.distributed import DaskRunner, connect

                with connect(dask) as client:
                    result = run(
                        analysis, out, store=store, unblind=unblind, runner=DaskRunner(client),
                        progress=progress,
                    )  # fmt: skip
    except KeyboardInterrupt:
        typer.echo(f"{out}: the trials that were run are kept; run again to go on", err=True)
        raise
    with styled():
        figure = study_plot(result.trials, result.importance, result.ranges)
    write_study_plot(out / "study.png", figure)
    print_trials(result)
    say(f"plot {out / 'study.png'}")
    say(f"best {result.best}")


def compare(
    file: AnalysisFile,
    out: Annotated[Path, typer.Option(help="Folder of the comparison.")],
    store: Annotated[
        Path | None, typer.Option(help="A prepared store to use; else DIR/store is made.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare with this method only: trees, trees_raw, dense, deep_sets, published or "
            "part; may be repeated."
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Classifiers of every method and fold; else compare.seeds."),
    ] = None,
    seeds_of: Annotated[
        list[str] | None,
        typer.Option(metavar="METHOD=N", help="Another number for one method; may be repeated."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Classifiers trained at once; one per core by default."),
    ] = None,
    unblind: Unblind = False,
) -> None:
    """Compare the network with other classifiers on the same events, folds and weights.

    What was trained is kept: run again, it goes on.
    """
    from particle_transformer.report.comparison import write_comparison
    from particle_transformer.report.filling import check_report_installed

    check_report_installed("compare")  # now, not after hours: the report comes last
    from particle_transformer.cli.tables import print_comparison
    from particle_transformer.studies.compare import compare as run
    from particle_transformer.workers import available_cores

    analysis = _load(file)
    try:
        with Progress() as progress:
            result = run(
                analysis, out, store=store, methods=method or (), seeds=seeds, seeds_of=_numbers(seeds_of or ()),
                workers=workers or available_cores(), unblind=unblind, progress=progress,
            )  # fmt: skip
    except KeyboardInterrupt:
        typer.echo(f"{out}: what was trained is kept; run again to go on", err=True)
        raise
    report = write_comparison(out, result)
    print_comparison(result)
    say(f"figures {out / 'compare.json'}")
    say(f"report {report}")


def _numbers(texts: Sequence[str]) -> dict[str, int]:
    """What ``--seeds-of`` gives: numbers by name."""
    found = {}
    for text in texts:
        name, _, number = text.partition("=")
        if not (number.isdecimal() and int(number) > 0):
            message = f"--seeds-of: got {text!r}, expected METHOD=N with a number from 1 on"
            raise AnalysisFileError(message)
        found[name] = int(number)
    return found


def explain(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    events: Annotated[
        int, typer.Option(min=1, help="Test events at most whose inputs are permuted.")
    ] = 10_000,
    gradient_events: Annotated[
        int, typer.Option(min=1, help="Test events at most for integrated gradients.")
    ] = 2_000,
    repeats: Annotated[int, typer.Option(min=1, help="Permutations of each input.")] = 5,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of drawn events, permutations and bootstrap.")
    ] = 1,
) -> None:
    """Say what the networks of a run look at: importances, attributions, event displays."""
    from particle_transformer.report.explanation import write_explanation
    from particle_transformer.report.filling import check_report_installed

    check_report_installed("report")  # now, not after minutes: the page comes last
    from particle_transformer.cli.tables import print_explanation
    from particle_transformer.studies.explain import explain as compute

    with Progress() as progress:
        result = compute(
            run, events=events, gradient_events=gradient_events, repeats=repeats, seed=seed,
            progress=progress,
        )  # fmt: skip
    page = write_explanation(run / "report", result)
    print_explanation(result)
    say(f"figures {run / 'evaluation' / 'explain.json'}")
    say(f"report {page}")


def simulate(
    out: Annotated[Path, typer.Option(help="Folder of the sample: new, or unfinished.")],
    sample: Annotated[
        str, typer.Option(help="ttH (the demo's four processes) or jets-met (the benchmark's).")
    ] = "ttH",
    events: Annotated[int, typer.Option(min=1, help="Selected events per process.")] = 3000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sample.")] = 1,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; all cores by default. Changes no event.")
    ] = None,
    process: Annotated[
        list[str] | None, typer.Option(help="Simulate this process only; may be repeated.")
    ] = None,
) -> None:
    """Simulate a sample with Pythia 8 and FastJet, and write analysis files for it.

    A simulation that was interrupted or killed goes on from its finished chunks.
    """
    from particle_transformer.simulation import simulate as run

    with Progress() as progress:
        analysis = run(
            out,
            sample=sample,
            events=events,
            seed=seed,
            workers=workers,
            processes=process,
            progress=progress,
        )
    say(f"simulated {analysis}")


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the demo.")] = Path("demo"),
    events: Annotated[int, typer.Option(min=500, help="Selected events per process.")] = 3000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sample.")] = 1,
) -> None:
    """Simulate a small sample, train on it, evaluate: the whole way in minutes.

    A demo that was interrupted goes on after its last complete step.
    """
    from particle_transformer.cli.demo_folder import open_demo

    open_demo(out, events=events, seed=seed)
    sample, run = out / "sample", out / "run"
    say("1/3 simulating tt\u0304H(inv), tt\u0304, Z→νν+jets and W→ℓν+jets (Pythia 8, FastJet)")
    if (sample / "analysis.yaml").exists():
        say(f"simulated before: {sample / 'analysis.yaml'}")
    else:
        simulate(sample, events=events, seed=seed)
    say("2/3 preparing the events and training one network per fold")
    if (run / "run.json").exists():
        say(f"trained before: {run}")
    else:
        train(sample / "analysis.yaml", run)
    say("3/3 scoring every event by the network of its own fold")
    evaluate(run)


def _epoch_plots(out: Path) -> Callable[[NetworkTask], Sequence[Callback]] | None:
    """Plots after each epoch; a convenience, so that a training goes on without them."""
    from particle_transformer.errors import MissingExtraError
    from particle_transformer.report.epochs import epoch_plots

    try:
        return epoch_plots(out)
    except MissingExtraError as error:
        say(f"no plots of the epochs: {error}")
        return None


def _load(file: Path, init: str | None = None) -> Analysis:
    """The analysis file; says what in it is allowed, but hardly meant."""
    from particle_transformer.config import load_analysis

    analysis = _begin_from(load_analysis(file), init)
    for name, era in analysis.eras.items():
        if era.luminosity is not None and era.luminosity > LHC_LUMINOSITY:
            say(
                f"{file}: eras.{name}.luminosity: {era.luminosity:g} fb^-1 is more than the LHC "
                f"will ever deliver ({LHC_LUMINOSITY:g}); if it is in pb^-1, divide it by 1000"
            )
    return analysis


def _begin_from(analysis: Analysis, init: str | None) -> Analysis:
    """The analysis with what its networks begin from, and with the widths which that has."""
    if init is not None:
        from particle_transformer.config import PRETRAINED

        name = init if init == PRETRAINED else str(Path(init).expanduser().resolve())
        training = analysis.training.model_copy(update={"init": name})
        analysis = analysis.model_copy(update={"training": training})
    if analysis.training.init is None:
        return analysis
    from particle_transformer.training.initial import with_initial

    return with_initial(analysis)
