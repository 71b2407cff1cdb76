"""Evaluate a run and write its report."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from particle_transformer.artefact.run_folder import RunFolder, open_run
from particle_transformer.errors import require
from particle_transformer.inference.before import RunScores, score_before
from particle_transformer.inference.evaluate import evaluate_run
from particle_transformer.inference.statistics import compared_events
from particle_transformer.report.content import ReportContent
from particle_transformer.report.page import write_report

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from particle_transformer.config import Training
    from particle_transformer.data import Manifest
    from particle_transformer.inference.out_of_fold import ScoredRun

__all__ = ["evaluate"]


def evaluate(
    path: Path,
    *,
    before: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[dict[str, Any], Path]:
    """Score a run's events, compute its figures of merit and write the report.

    Parameters
    ----------
    path
        A run directory.
    before
        Another one, trained on the same events, to show beside it.
    progress
        Called with (what is being done, steps done, steps in all).

    Returns
    -------
    metrics, report
        The content of ``evaluation/metrics.json``, and the path of ``report/index.html``.

    Raises
    ------
    AOTError
        If the run is damaged, cannot be written to, or the extra ``report`` is missing, or the run
        before has other events.
    """
    for module in ("jinja2", "matplotlib", "mplhep"):
        require(module, "report")  # before the work, not after it
    run = open_run(path)
    earlier = None
    if before is not None:
        earlier = score_before(open_run(before), run, progress=progress)
    metrics, scored = evaluate_run(run, before=earlier, progress=progress)
    content = _content(run, metrics, scored, earlier)
    return metrics, write_report(run.report / "index.html", content=content)


def _content(
    run: RunFolder, metrics: dict[str, Any], scored: ScoredRun, before: RunScores | None
) -> ReportContent:
    record = run.read_record()
    manifest = scored.store.manifest
    analysis = scored.analysis
    training = analysis.training
    model = analysis.model
    parts = [*(f"{name}: {', '.join(texts)}" for name, texts in manifest.objects.items())]
    return ReportContent(
        title=analysis.name,
        metrics=metrics,
        test=scored.test,
        luminosity=_luminosity(manifest),
        signal_regions=analysis.signal_regions,
        cutflow=manifest.cutflow,
        history={
            network["fold"]: network["history"]
            for network in record["networks"]
            if network["network"] == 0
        },
        features=dict(zip(manifest.event, scored.events.event.T, strict=True)),
        spectators=dict(zip(manifest.spectators, scored.events.spectators.T, strict=True)),
        before=None if before is None else before.test,
        compared=compared_events(scored),
        settings={
            "object features": "; ".join(parts),
            "event features": ", ".join(manifest.event) or "none",
            "widths": f"{model.embed_dims}, {model.linear_dims1}, {model.linear_dims2}",
            "attention and class blocks": f"{model.num_att_blocks} and {model.num_class_blocks}",
            "heads": model.num_heads,
            "pairwise bias": "yes" if model.pair_bias else "no",
            "folds": training.folds,
            "networks per fold": training.ensemble,
            "epochs at most": training.epochs,
            "batch size": training.batch_size,
            "learning rate": _learning_rate(record["networks"], training),
            "loss": _loss(training),
            **_options(training),
            "balance of training weights": training.balance,
            "negative weights in training": training.negative_weights,
            "seed": training.seed,
        },
        provenance={
            **record["versions"],
            "store fingerprint": manifest.fingerprint[:16],
            "input files": len(manifest.inputs),
            "training time": f"{sum(network['seconds'] for network in record['networks']):.0f} s",
            "evaluated": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        },
        ensemble=training.ensemble,
        notes=_notes(manifest),
    )


def _learning_rate(networks: list[dict[str, Any]], training: Training) -> str:
    if training.learning_rate != "auto":
        return f"{training.learning_rate:g}"
    rates = [network["learning_rate"] for network in networks]
    return f"auto: {min(rates):.2g} to {max(rates):.2g}"


def _loss(training: Training) -> str:
    loss = training.loss
    return loss.name if loss.gamma is None else f"{loss.name}, gamma {loss.gamma:g}"


def _options(training: Training) -> dict[str, str]:
    """What the training has beside the usual; nothing of what it has not."""
    found: dict[str, str] = {}
    if training.disco is not None:
        disco = training.disco
        found["disco"] = (
            f"against {', '.join(disco.against)}, strength {disco.strength:g}, "
            f"classes {disco.classes}"
        )
    if training.double_disco is not None:
        found["double disco"] = f"strength {training.double_disco.strength:g}"
    if training.regression is not None:
        head = training.regression
        found["regression"] = (
            f"{', '.join(head.targets)}; strength {head.strength:g}, delta {head.delta:g}"
        )
    if training.condition:
        found["condition"] = ", ".join(training.condition)
    if training.ema is not None:
        found["moving average of weights"] = f"{training.ema:g}"
    if training.augmentation:
        found["augmentation"] = ", ".join(training.augmentation)
    if training.precision != "float32":
        found["precision of training"] = training.precision
    return found


def _luminosity(manifest: Manifest) -> str:
    eras = {record.era for record in manifest.inputs}  # one without files adds no event
    known = [lumi for era, lumi in manifest.luminosity.items() if lumi is not None and era in eras]
    return f"{sum(known):g} fb⁻¹" if known else "yields as weighted in the files"


def _notes(manifest: Manifest) -> list[str]:
    notes = []
    truncated = sum(sum(counts.values()) for counts in manifest.truncated.values())
    if truncated:
        notes.append(
            f"{truncated} objects beyond the cap of their collection were not shown to the "
            f"network; sums such as HT include them."
        )
    for process, counts in manifest.non_finite.items():
        if counts:
            listed = ", ".join(f"{feature!r} in {count}" for feature, count in counts.items())
            notes.append(
                f"Events of {process} with NaN or infinity were dropped: {listed}; "
                f"they are missing from its yield."
            )
    return notes
