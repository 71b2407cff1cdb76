"""The analysis as a whole: its sections, and what must hold between them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from particle_transformer.config.augmentation import check_augmentation
from particle_transformer.config.comparison import Comparison
from particle_transformer.config.corrections import Correction, Weight
from particle_transformer.config.evaluation import FIT_ROLES, Evaluation, check_evaluation
from particle_transformer.config.sections import (
    Collection,
    Era,
    EventFeatures,
    Model,
    Process,
    Region,
    Source,
)
from particle_transformer.config.training import Training
from particle_transformer.config.training_checks import check_training
from particle_transformer.config.tuning import Tuning
from particle_transformer.config.types import Label, PlainName, Section, problem
from particle_transformer.config.variations import Variation  # noqa: TC001 (pydantic needs it)
from particle_transformer.config.varied import Varied, check_variations, varied_sides
from particle_transformer.errors import nearest
from particle_transformer.events.classes import DATA, SIGNAL
from particle_transformer.expressions import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["PREPARED_SECTIONS", "Analysis", "analysis_fingerprint"]

PREPARED_SECTIONS = (
    "source", "eras", "processes", "objects", "event", "weights", "regions", "variations",
)  # fmt: skip
"""The sections that determine the prepared events."""


class Analysis(Section):
    """A validated analysis, in its normal form: eras, files by era and regions spelt out.

    Attributes
    ----------
    name
        Safe in file names.
    source, event, training, model, evaluation, tuning, compare
        One section each.
    eras, processes, objects, regions
        Sections by name, in the order of the file.
    weights
        Expressions and corrections that are multiplied; ``generator`` is the generator weight,
        whose sum over all generated events normalises it.
    variations
        Systematic variations by name.
    """

    name: Label
    source: Source = Source()
    eras: Annotated[dict[Label, Era], Field(min_length=1)]
    processes: dict[Label, Process]
    objects: Annotated[dict[PlainName, Collection], Field(min_length=1)]
    event: EventFeatures = EventFeatures()
    weights: dict[PlainName, Weight] = Field(default_factory=dict)
    regions: Annotated[dict[PlainName, Region], Field(min_length=1)]
    variations: dict[PlainName, Variation] = Field(default_factory=dict)
    training: Training = Training()
    model: Model = Model()
    evaluation: Evaluation = Evaluation()
    tuning: Tuning = Tuning()
    compare: Comparison = Comparison()

    @property
    def classes(self) -> tuple[str, ...]:
        """``signal`` first, then the background classes in the order of the file; no data."""
        found = [self.processes[process].class_name for process in self.training_processes]
        return tuple(dict.fromkeys([SIGNAL, *found]))

    @property
    def training_processes(self) -> tuple[str, ...]:
        """The simulated processes, in the order of the file."""
        return tuple(name for name, process in self.processes.items() if process.class_name != DATA)

    @property
    def signal_regions(self) -> tuple[str, ...]:
        """The regions of role signal, at least one: training and headline figures use them."""
        return tuple(name for name, region in self.regions.items() if region.role == "signal")

    @property
    def fit_regions(self) -> tuple[str, ...]:
        """The regions that are fitted together, in the order of the file."""
        chosen = self.evaluation.limit.regions
        return tuple(
            name
            for name, region in self.regions.items()
            if (name in chosen if chosen else region.role in FIT_ROLES)
        )

    def fit_regions_of(self, role: str) -> tuple[str, ...]:
        """Those of `fit_regions` that have a role: signal or control."""
        return tuple(name for name in self.fit_regions if self.regions[name].role == role)

    @property
    def fit_normalisation(self) -> dict[str, float]:
        """Relative uncertainty of the normalisation of each process that has one in the fit."""
        limit = self.evaluation.limit
        assumed = {
            name: self.evaluation.background_uncertainty
            for name in self.training_processes
            if self.class_of(name) != SIGNAL and name not in limit.free
        }
        return {name: value for name, value in (assumed | limit.normalisation).items() if value}

    @property
    def varied(self) -> tuple[Varied, ...]:
        """Every side of every variation, in the order of the file, up before down."""
        return varied_sides(self)

    @property
    def files_read(self) -> tuple[str, ...]:
        """Every luminosity mask and correction file, sorted; their content shapes the events."""
        masks = {era.lumi_mask for era in self.eras.values() if era.lumi_mask is not None}
        return tuple(sorted(masks | set(self.correction_files)))

    @property
    def correction_files(self) -> tuple[str, ...]:
        """Every file of weights and their variations, sorted."""
        return tuple(sorted({path for _, weight in self._corrections() for path in weight.files}))

    def _corrections(self) -> list[tuple[str, Correction]]:
        """Every correction with its key."""
        weights = [(f"weights.{name}", weight) for name, weight in self.weights.items()]
        for varied in self.varied:
            key = f"variations.{varied.name}.weights"
            weights += [(f"{key}.{name}", weight) for name, weight in varied.weights.items()]
        return [(key, weight) for key, weight in weights if isinstance(weight, Correction)]

    def class_of(self, process: str) -> str:
        """Give the class of a process."""
        return self.processes[process].class_name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_classes()
        self._check_eras()
        self._check_weights()
        self._check_names()
        check_variations(self)
        self._check_corrections()
        self._check_model()
        check_augmentation(self)
        check_training(self)
        check_evaluation(self)
        if not self.signal_regions:
            message = "no region has role: signal; expected at least one"
            raise problem(message, "regions")
        return self

    def _check_classes(self) -> None:
        found = {process.class_name for process in self.processes.values()}
        shown = ", ".join(sorted(found)) or "none"
        if SIGNAL not in found:
            message = f"no process has class: signal (classes: {shown}); expected at least one"
            raise problem(message, "processes")
        if not found - {SIGNAL, DATA}:
            message = f"no process is a background (classes: {shown}); expected at least one"
            raise problem(message, "processes")

    def _check_eras(self) -> None:
        for name, process in self.processes.items():
            for era in process.files:
                if era not in self.eras:
                    message = f"unknown era; {nearest(era, self.eras)}"
                    raise problem(message, f"processes.{name}.files.{era}")
                if process.cross_section is not None and self.eras[era].luminosity is None:
                    message = (
                        f"missing, but process {name} has a cross-section and files of era {era}; "
                        "expected the luminosity in fb^-1"
                    )
                    raise problem(message, f"eras.{era}.luminosity")

        for name, entry in self.eras.items():
            identity = self.source.identity
            if entry.lumi_mask is not None and len(identity) != 3:
                message = (
                    f"got [{', '.join(identity)}], but era {name} has a lumi_mask; expected the "
                    "three branches of run, luminosity section and event, as in "
                    "[run, luminosityBlock, event]"
                )
                raise problem(message, "source.identity")

    def _check_corrections(self) -> None:
        if isinstance(self.weights.get("generator"), Correction):
            message = (
                "got a correction; expected an expression: its sum over all generated events "
                "normalises the process"
            )
            raise problem(message, "weights.generator")
        for key, correction in self._corrections():
            objects = correction.objects
            if objects is not None and objects not in self.objects:
                message = (
                    f"got {objects!r}, expected a collection; {nearest(objects, self.objects)}"
                )
                raise problem(message, f"{key}.objects")

    def _check_model(self) -> None:
        if self.model.event_features in ("token", "both") and not self.event.features:
            message = (
                f"got {self.model.event_features!r}, but there are no event features; expected "
                "'concatenated', or event.features"
            )
            raise problem(message, "model.event_features")

    def _check_weights(self) -> None:
        ready = self.event.weight
        if ready is not None and self.weights:
            message = f"got {ready!r} beside weights; a ready weight is final: expected one of them"
            raise problem(message, "event.weight")
        for name, process in self.processes.items():
            key = f"processes.{name}.cross_section"
            given = process.cross_section
            if process.class_name == DATA:
                if given is not None:
                    message = f"got {given:g}, but data has no cross-section; remove it"
                    raise problem(message, key)
            elif ready is not None and given is not None:
                message = (
                    f"got {given:g}, but the events carry a ready weight (event.weight: {ready}); "
                    "expected one of them"
                )
                raise problem(message, key)
            elif ready is None and given is None:
                message = (
                    "missing; expected the cross-section in pb, or a ready physics weight under "
                    "event.weight"
                )
                raise problem(message, key)

    def _check_names(self) -> None:
        for name, collection in self.objects.items():
            for other in () if collection.clean is None else collection.clean.against:
                if other not in self.objects or other == name:
                    others = [known for known in self.objects if known != name]
                    message = f"got {other!r}, expected another collection; "
                    message += nearest(other, others)
                    raise problem(message, f"objects.{name}.clean.against")
        cleaned = {
            name: collection.clean.against
            for name, collection in self.objects.items()
            if collection.clean is not None
        }
        circle = _cycle(cleaned)
        if circle:
            message = f"collections are cleaned in a circle: {' -> '.join(circle)}"
            raise problem(message, f"objects.{circle[0]}.clean.against")
        for name in self.event.define:
            owner = name.partition(".")[0]
            if owner in self.objects:
                message = f"{owner} is already the name of a collection; choose another"
                raise problem(message, f"event.define.{name}")
        cycle = _cycle({name: parse(text).names for name, text in self.event.define.items()})
        if cycle:
            message = f"defined in a circle: {' -> '.join(cycle)}"
            raise problem(message, f"event.define.{cycle[0]}")


def _cycle(uses: Mapping[str, Sequence[str]]) -> list[str]:
    """Find a circle of definitions; a name in its own definition means the branch."""
    done: set[str] = set()

    for start in uses:
        trail: list[tuple[str, list[str]]] = [(start, list(uses[start]))]
        while trail:
            name, rest = trail[-1]
            if name in done or not rest:
                done.add(name)
                trail.pop()
                continue
            used = rest.pop(0)
            path = [step for step, _ in trail]
            if used in path[:-1]:
                return [*path[path.index(used) :], used]
            if used in uses and used != name:
                trail.append((used, list(uses[used])))
    return []


def analysis_fingerprint(analysis: Analysis, *, sections: Sequence[str] = PREPARED_SECTIONS) -> str:
    """Fingerprint the sections that determine something made from them.

    Parameters
    ----------
    analysis
        The validated analysis.
    sections
        By default those that determine the prepared events.

    Returns
    -------
    str
        SHA-256, hexadecimal, of the sections as JSON. The order of names counts: it is the order
        of processes and collections in the prepared events. Parameters of processes are left out:
        only the training reads them.
    """
    plain = analysis.model_dump(
        mode="json",
        by_alias=True,
        include=set(sections),
        exclude={"processes": {"__all__": {"parameters"}}},
    )
    canonical = json.dumps(plain, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
