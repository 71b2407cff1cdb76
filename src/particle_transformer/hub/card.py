"""The model card of a run: data, performance, intended use, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from particle_transformer.events.classes import DATA
from particle_transformer.network_files.model_card import (
    FRONT_MATTER,
    about_citation,
    about_inputs,
    about_network,
    about_outputs,
    about_parameters,
)
from particle_transformer.report.numbers import count, figure_text, with_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from particle_transformer.hub.facts import RunFacts

__all__ = ["run_card"]


def run_card(facts: RunFacts, place: str, *, repository: bool) -> str:
    """The ``README.md`` of an exported run.

    Parameters
    ----------
    facts
        What is known of the run.
    place
        What the examples call the folder, or the repository of the Hub.
    repository
        Whether it is a repository, and so has to be fetched.

    Returns
    -------
    str
        Markdown, with the metadata of the Hub in front.
    """
    conditioning = facts.metadata["conditioning"]
    sections = [
        f"---\n{yaml.safe_dump(_front_matter(facts), sort_keys=False, allow_unicode=True)}---",
        _title(facts),
        about_network(facts.arguments),
        _use(facts, place, repository=repository),
        about_outputs(facts.metadata, facts.arguments["num_outputs"]),
        about_inputs(facts.metadata["objects"], facts.metadata["event"]),
        *([] if conditioning is None else [about_parameters(conditioning)]),
        _data(facts),
        _performance(facts),
        _intended(),
        _limits(facts),
        about_citation(facts.arguments),
        "## Licence\n\nApache-2.0",
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(facts: RunFacts) -> dict[str, Any]:
    matter: dict[str, Any] = dict(FRONT_MATTER)
    results = [
        {"type": kind, "value": round(figure["value"], 6), "name": f"{name}, {_precision(figure)}"}
        for kind, name, figure in _figures(facts.metrics)
        if figure["value"] is not None
    ]
    if results:
        data = {"type": "simulation", "name": facts.analysis.name}
        task = {"type": FRONT_MATTER["pipeline_tag"], "name": "Signal against background"}
        matter["metrics"] = list(dict.fromkeys(each["type"] for each in results))
        matter["model-index"] = [
            {
                "name": facts.analysis.name,
                "results": [{"task": task, "dataset": data, "metrics": results}],
            }
        ]
    return matter


def _precision(figure: Mapping[str, Any]) -> str:
    events = f"{count(figure['effective_events'])} effective events"
    return events if figure["error"] is None else f"± {figure['error']:.2g}, {events}"


def _figures(metrics: Mapping[str, Any] | None) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Figures of merit: the kind of each, its name, and value, error and effective events."""
    if metrics is None:
        return []
    figures = [
        ("roc_auc", "AUC of signal against all backgrounds", metrics["auc"]),
        ("roc_auc", "the same without weights", metrics["auc_unweighted"]),
    ]
    figures += [
        (
            "background_rejection",
            f"background rejection at {float(point):.0%} signal efficiency",
            figure,
        )
        for point, figure in metrics["rejection"].items()
    ]
    return [*figures, ("significance", "expected significance (Asimov)", metrics["significance"])]


def _title(facts: RunFacts) -> str:
    folds, networks = facts.record["folds"], facts.record["ensemble"]
    each = "one network" if networks == 1 else f"{networks} networks"
    return (
        f"# {facts.analysis.name}\n\nClassifies LHC collision events as "
        f"{' or '.join(facts.metadata['classes'])}: {each} for each of {folds} folds. The networks "
        "of a fold never read an event of it, so that every event of the samples can be scored by "
        "networks that have not seen it; the fold is a hash of the event's identity."
    )


def _use(facts: RunFacts, place: str, *, repository: bool) -> str:
    collections = ", ".join(facts.metadata["objects"])
    extra = "[hub]" if repository else ""
    lines = [f"pip install 'analysis-object-transformer{extra}'"]
    lines += [f"hf download {place} --local-dir run"] if repository else []
    lines.append(f"aot predict {'run' if repository else place} FILE… --out SCORES")
    commands = "\n".join(lines)
    return (
        f"## Use\n\n```bash\n{commands}\n```\n\n"
        "`aot predict` selects events and objects as in the training (`analysis.yaml`) and gives "
        "each event to the networks of its own fold. A network alone, for tensors that hold the "
        f"features below ({collections}):\n\n```python\n"
        "from particle_transformer import AnalysisObjectTransformer\n"
        f'model = AnalysisObjectTransformer.from_pretrained("{place}", fold=0)\n```'
    )


def _data(facts: RunFacts) -> str:
    analysis = facts.analysis
    known = {} if facts.metrics is None else facts.metrics["processes"]
    trained = _trained(facts.record)
    rows = []
    for process, settings in analysis.processes.items():
        if analysis.class_of(process) == DATA:
            continue
        figures = known.get(process)
        cross_section = settings.cross_section
        rows.append(
            (
                process,
                analysis.class_of(process),
                "–" if cross_section is None else f"{cross_section:g}",
                "–" if facts.files is None else count(facts.files.get(process, 0)),
                count(trained.get(process, 0)),
                "–" if figures is None else count(figures["events"]),
                "–" if figures is None else count(figures["effective_events"]),
                "–" if figures is None else with_error(figures["yield"], figures["yield_error"]),
            )
        )
    head = (
        "process", "class", "cross-section [pb]", "files", "training events",
        "events", "effective events", "expected yield",
    )  # fmt: skip
    eras = {era for process in analysis.processes.values() for era in process.files}
    luminosity = ", ".join(
        f"{era}: {settings.luminosity:g} fb⁻¹"
        for era, settings in analysis.eras.items()
        if settings.luminosity is not None and era in eras
    )
    yields = f" at the luminosity ({luminosity})" if luminosity else ""
    return (
        "## Data\n\nSimulated events, in the regions of role signal; recorded data is never trained "
        f"on. Yields are signed sums of physics weights{yields}, with their statistical errors; "
        "(Σw)²/Σw² is the effective number of events. Training events are those of one network.\n\n"
        f"{_table(head, rows)}\n\nFingerprint of the prepared events: "
        f"`{facts.record['store_fingerprint']}`."
    )


def _trained(record: Mapping[str, Any]) -> Mapping[str, int]:
    """Training events of the first network, by process."""
    networks = record.get("networks", ())
    events = networks[0]["training_events"] if networks else {}
    return {process: each["events"] for process, each in events.items()}


def _performance(facts: RunFacts) -> str:
    if facts.metrics is None:
        return "## Performance\n\nNot evaluated: `aot evaluate` had not been run at the export."
    rows = [
        (
            name,
            figure_text(figure),
            count(figure["effective_events"]),
            figure["reason"] or "",
        )
        for _, name, figure in _figures(facts.metrics)
    ]
    limit = facts.metrics.get("limit")
    if limit is not None and limit["median"] is not None:
        low, high = limit["band"][1], limit["band"][3]
        band = f"{limit['median']:.3g} (68 % band {low:.3g} to {high:.3g})"
        rows.append((f"expected limit on the signal strength at {limit['level']:.0%} CL", band,
                     "", "; ".join(limit["notes"])))  # fmt: skip
    networks = facts.record.get("networks", ())
    seeds = sorted({network["seed"] for network in networks})
    trained = f"{len(networks)} networks, {len(seeds)} seeds" if networks else "all networks"
    replicas = facts.metrics["bootstrap"]["replicas"]
    return (
        f"## Performance\n\nOut of fold ({trained}): each of {count(facts.metrics['events'])} "
        "simulated events is scored by the networks of its own fold, with signed physics weights. "
        f"Errors are statistical, from {replicas} bootstrap replicas; that of another training, and "
        "systematic uncertainties, are not in them. Thresholds were chosen on validation events.\n\n"
        f"{_table(('figure', 'value', 'effective events', 'remark'), rows)}"
    )


def _intended() -> str:
    return (
        "## Intended use\n\nSearches and measurements that select or bin events by the score, with "
        "events prepared by the same analysis file; comparisons with other classifiers; a start for "
        "training on other samples. Not for triggers or any decision about people."
    )


def _limits(facts: RunFacts) -> str:
    analysis = facts.analysis
    regions = ", ".join(
        f"{name} (`{analysis.regions[name].select}`)" for name in analysis.signal_regions
    )
    return (
        "## Limits\n\n"
        f"- Trained with events of the signal regions alone, {regions}: elsewhere it extrapolates.\n"
        "- It knows the simulation, not the data: differences between them, and systematic "
        "uncertainties, are the analysis's to evaluate.\n"
        "- Figures hold for these samples, cross-sections and this detector.\n"
        "- The mean over all folds is biased for events of the training samples: score them by the "
        "networks of their own fold."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
