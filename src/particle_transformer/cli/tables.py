"""Tables that the commands print."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.cli.progress import say
from particle_transformer.evaluation.failures import failed_folds
from particle_transformer.events.classes import DATA

if TYPE_CHECKING:
    from pathlib import Path

    from particle_transformer.data import Manifest
    from particle_transformer.studies import StudyResult

__all__ = [
    "print_comparison", "print_cutflow", "print_explanation", "print_metrics", "print_training",
    "print_trials",
]  # fmt: skip

_BEST = 10
"""Trials of a study that are shown."""


def print_cutflow(manifest: Manifest) -> None:
    """The cutflow of every process and era: raw events and yields with statistical errors."""
    table = Table("process", "era", "cut", title="Cutflow")
    table.add_column("events", justify="right")
    table.add_column("yield", justify="right")
    for row in manifest.cutflow:
        table.add_row(
            row.process,
            row.era,
            row.cut,
            f"{row.events}",
            f"{row.yield_:.6g} ± {row.yield_error:.2g}",
        )
    Console().print(table)
    for row in manifest.cutflow:
        if row.cut == "kept" and not row.events:
            say(f"no event is left: {row.process} in era {row.era}")
    simulated = {
        process
        for process, kind in zip(manifest.processes, manifest.classes, strict=True)
        if kind != DATA
    }
    normalised = any(luminosity is not None for luminosity in manifest.luminosity.values())
    counted = [
        record.process
        for record in manifest.inputs
        if normalised and record.process in simulated and not record.stated
    ]
    if counted:
        say(
            f"normalised to their own entries, as no file states what was generated: "
            f"{', '.join(dict.fromkeys(counted))}"
        )
    for process, counts in manifest.non_finite.items():
        for feature, events in counts.items():
            say(f"dropped: {events} events of {process} with NaN or infinity in {feature}")
    for process, counts in manifest.truncated.items():
        for collection, objects in counts.items():
            say(f"not shown to the network: {objects} {collection} of {process}, beyond `max`")


def print_training(run: Path) -> None:
    """What a network began from, and was trained on: events, and what their weights are worth."""
    record = RunFolder(run).read_record()
    networks = record["networks"]
    if record["init"] is not None:
        _say_reuse(record["init"])
    table = Table("process", title="Training events per network")
    table.add_column("events", justify="right")
    table.add_column("effective events", justify="right")
    for process in dict.fromkeys(
        name for network in networks for name in network["training_events"]
    ):
        none = {"events": 0, "effective": 0}
        found = [network["training_events"].get(process, none) for network in networks]
        table.add_row(
            process,
            *(
                f"{sum(row[key] for row in found) / len(found):.0f}"
                for key in ("events", "effective")
            ),
        )
    Console().print(table)


def _say_reuse(init: dict[str, Any]) -> None:
    """What the networks have taken over from another one, part by part."""
    say(f"began from {init['network']}")
    for name, features in {**init["objects"], "event": init["event"]}.items():
        if features["of"] is None:
            say(f"  {name}: fresh, no feature in common")
            continue
        parts = [f"reused {', '.join(features['reused'])}"]
        for key, words in (("new", "new"), ("unused", "of the older network alone")):
            if features[key]:
                parts.append(f"{words} {', '.join(features[key])}")
        say(f"  {name}: {'; '.join(parts)}")
    for key, words in (("classes", "classes reused"), ("reused", "reused"), ("fresh", "fresh")):
        if init[key]:
            say(f"  {words}: {', '.join(init[key])}")


def print_trials(result: StudyResult) -> None:
    """The best trials of a study, and how many there were."""
    best = result.ranking[:_BEST]
    table = Table("trial", title="Best trials")
    names = [key.partition(".")[2] for key in best[0].values]
    for name in ("val. loss", "best epoch", *names):
        table.add_column(name, justify="right", overflow="fold")
    for trial in best:
        table.add_row(
            f"{trial.number}",
            f"{trial.loss:.5f}",
            ", ".join(f"{epoch}" for epoch in trial.best_epochs),
            *(f"{value:.3g}" if isinstance(value, float) else f"{value}"
              for value in trial.values.values()),
        )  # fmt: skip
    Console().print(table)
    states = Counter(trial.state for trial in result.trials)
    say(", ".join(f"{states[state]} {state}" for state in sorted(states)))


def print_comparison(result: dict[str, Any]) -> None:
    """Figures of every method, how the network compares with each, and costs."""
    from particle_transformer.report.comparison_table import comparison_tables, sentence

    for content in comparison_tables(result):
        table = Table(content.columns[0], title=content.title)
        for name in content.columns[1:]:
            table.add_column(name, justify="right", overflow="fold")
        for row in content.rows:
            table.add_row(*row)
        if content.rows:
            Console().print(table)
    say(sentence(result))
    for name, reason in result["absent"].items():
        say(f"left out: {name}: {reason}")


def print_explanation(result: dict[str, Any]) -> None:
    """What each input is worth to the networks."""
    from particle_transformer.report.explanation import importance_rows

    table = Table("permuted", title="Permutation importance, test events in signal regions")
    for name in ("loss of AUC", "rise of cross-entropy"):
        table.add_column(name, justify="right")
    for row in importance_rows(result):
        table.add_row(row.name, *row.cells)
    Console().print(table)


def print_metrics(metrics: dict[str, Any]) -> None:
    """The headline figures with their errors."""
    from particle_transformer.report.statistics_tables import limit_text

    table = Table("figure", title="Out-of-fold performance, events in signal regions")
    before = metrics.get("before")
    if before is not None:
        table.add_column("before", justify="right")
    table.add_column("value" if before is None else "after", justify="right")
    table.add_column("effective events", justify="right")
    rows = [
        ("AUC", metrics["auc"], before and before["auc"]),
        ("AUC, unweighted", metrics["auc_unweighted"], None),
        *(
            (
                f"rejection at {100 * float(point):g}% signal efficiency",
                figure,
                before and before["rejection"][point],
            )
            for point, figure in metrics["rejection"].items()
        ),
        ("expected significance (Asimov)", metrics["significance"], None),
        *(
            (
                f"dCorr²(score, {name}), background",
                figure,
                before and before["sculpting"]["spectators"][name],
            )
            for name, figure in metrics.get("sculpting", {}).get("spectators", {}).items()
        ),
    ]
    for name, figure, other in rows:
        compared = [] if before is None else ["" if other is None else _shown(other)]
        table.add_row(name, *compared, _shown(figure), f"{figure['effective_events']:.0f}")
    Console().print(table)
    if "limit" in metrics:
        say(limit_text(metrics["limit"]))
    for sentence in failed_folds(metrics):
        say(sentence)


def _shown(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return f"undefined: {figure['reason']}"
    if figure["error"] is None:
        return f"{figure['value']:.4g}"
    return f"{figure['value']:.4g} ± {figure['error']:.2g}"
