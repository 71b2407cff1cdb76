"""Variations against the rest of the analysis: what must hold, and the form the data code uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from particle_transformer.config.types import problem
from particle_transformer.errors import nearest

if TYPE_CHECKING:
    from particle_transformer.config.analysis import Analysis
    from particle_transformer.config.corrections import Correction
    from particle_transformer.config.variations import Replacement

__all__ = ["Varied", "check_variations", "varied_sides"]


@dataclass(frozen=True)
class Varied:
    """One side of a variation; what it does not name stays nominal.

    Attributes
    ----------
    name
        ``JES.up``.
    fields
        Expressions by (collection, field), over the nominal, unselected objects.
    quantities
        Expressions by quantity of ``event.define``.
    weights
        What replaces a weight, by its name.
    files
        Patterns of the simulation that replaces a process, by process and era.
    propagate_to_met
        Whether ``met.pt`` and ``met.phi`` follow the varied objects; a text: which objects count.
    """

    name: str
    fields: dict[tuple[str, str], str] = field(default_factory=dict)
    quantities: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str | Correction] = field(default_factory=dict)
    files: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    propagate_to_met: bool | str = False


def varied_sides(analysis: Analysis) -> tuple[Varied, ...]:
    """Give every side of every variation, in the order of the file, up before down."""
    return tuple(
        _sorted_out(analysis, f"{name}.{side}", replacements, variation.propagate_to_met)
        for name, variation in analysis.variations.items()
        for side, replacements in variation.sides.items()
    )


def _sorted_out(
    analysis: Analysis,
    name: str,
    replacements: dict[str, Replacement],
    propagate_to_met: bool | str,
) -> Varied:
    varied = Varied(name, propagate_to_met=propagate_to_met)
    for key, value in replacements.items():
        owner, _, rest = key.partition(".")
        if owner == "weights":
            varied.weights[rest] = cast("str | Correction", value)
        elif owner == "processes":
            files = cast("dict[str, tuple[str, ...]]", value)
            varied.files[rest.removesuffix(".files")] = files
        elif key in analysis.event.define:
            varied.quantities[key] = cast("str", value)
        else:
            varied.fields[owner, rest] = cast("str", value)
    return varied


def check_variations(analysis: Analysis) -> None:
    """Check that variations vary what exists.

    Raises
    ------
    PydanticCustomError
        See `problem`.
    """
    for name, variation in analysis.variations.items():
        for side, replacements in variation.sides.items():
            where = f"variations.{name}.{side}"
            for key, value in replacements.items():
                _check_key(analysis, f"{where}.{key}", key, value)
            varied = _sorted_out(analysis, name, replacements, variation.propagate_to_met)
            if varied.files and len(varied.files) < len(replacements):
                other = next(key for key in replacements if not key.startswith("processes."))
                message = (
                    "given beside files of processes; expected nothing else beside varied samples"
                )
                raise problem(message, f"{where}.{other}")
            if varied.propagate_to_met is not False:
                _check_met(analysis, f"variations.{name}", side, varied)


def _check_key(analysis: Analysis, where: str, key: str, value: Replacement) -> None:
    owner, _, rest = key.partition(".")
    if owner == "weights":
        _check_weight(analysis, where, rest)
    elif owner == "processes" and rest.endswith(".files"):
        files = cast("dict[str, tuple[str, ...]]", value)
        _check_files(analysis, where, rest.removesuffix(".files"), files)
    elif key not in analysis.event.define:
        collection = analysis.objects.get(owner)
        if collection is None or owner == "processes" or not rest or "." in rest:
            message = (
                "varies nothing that exists; expected COLLECTION.FIELD, a quantity of event.define, "
                f"weights.NAME or processes.NAME.files; {nearest(key, _known(analysis))}"
            )
            raise problem(message, where)
        if collection.collection is None and rest not in collection.fields:
            message = f"{rest!r} is no field of {owner}; {nearest(rest, collection.fields)}"
            raise problem(message, where)


def _known(analysis: Analysis) -> list[str]:
    return [
        *(f"{name}.{key}" for name, entry in analysis.objects.items() for key in entry.fields),
        *(f"{name}.pt" for name in analysis.objects),
        *analysis.event.define,
        *(f"weights.{name}" for name in analysis.weights if name != "generator"),
        *(f"processes.{name}.files" for name in analysis.training_processes),
    ]


def _check_weight(analysis: Analysis, where: str, name: str) -> None:
    if analysis.event.weight is not None:
        message = (
            f"the events carry a ready weight (event.weight: {analysis.event.weight}), which has "
            "no parts to vary; expected weights instead of it"
        )
        raise problem(message, where)
    others = [known for known in analysis.weights if known != "generator"]
    if name == "generator":
        message = (
            "the generator weight normalises the process and does not vary; expected another "
            "weight (weights: {NAME: 1} makes one)"
        )
        raise problem(message, where)
    if name not in others:
        none = (
            "weights has none but the generator weight"
            if analysis.weights
            else "the analysis file has no weights"
        )
        message = f"unknown weight; {nearest(name, others) if others else none}"
        raise problem(message, where)


def _check_files(
    analysis: Analysis, where: str, name: str, files: dict[str, tuple[str, ...]]
) -> None:
    if name not in analysis.training_processes:
        what = "data does not vary" if name in analysis.processes else "unknown process"
        message = f"{what}; expected a simulated one; {nearest(name, analysis.training_processes)}"
        raise problem(message, where)
    nominal = analysis.processes[name].files
    for era in files:
        if era not in nominal:
            message = f"process {name} has no files of this era; {nearest(era, nominal)}"
            raise problem(message, f"{where}.{era}")


def _check_met(analysis: Analysis, where: str, side: str, varied: Varied) -> None:
    key = f"{where}.propagate_to_met"
    for quantity in ("met.pt", "met.phi"):
        if quantity not in analysis.event.define:
            message = f"needs {quantity} in event.define, as in define: {{{quantity}: MET_pt}}"
            raise problem(message.replace("MET_pt", f"MET_{quantity[4:]}"), key)
    for quantity in varied.quantities:
        if quantity.startswith("met."):
            message = (
                "given beside propagate_to_met, which computes it; expected one of the two ways"
            )
            raise problem(message, f"{where}.{side}.{quantity}")
    if not varied.fields:
        message = (
            f"{side} varies no field of a collection that the MET could follow; expected one such "
            "as jets.pt"
        )
        raise problem(message, key)
    _check_views(analysis, f"{where}.{side}", varied)
    for collection in dict.fromkeys(owner for owner, _ in varied.fields):
        if not {(collection, "pt"), (collection, "phi")} & varied.fields.keys():
            message = f"{side} varies neither pt nor phi of {collection}; the MET follows these"
            raise problem(message, key)
        entry = analysis.objects[collection]
        for name in ("pt", "phi") if entry.collection is None else ():
            if name not in entry.fields:
                message = f"needs the field {name} of {collection}; {nearest(name, entry.fields)}"
                raise problem(message, key)


def _check_views(analysis: Analysis, where: str, varied: Varied) -> None:
    """Collections of the same objects move the MET once, so they must move alike."""
    views: dict[str, str] = {}
    for name in dict.fromkeys(owner for owner, _ in varied.fields):
        prefix = analysis.objects[name].collection
        if prefix is None:
            continue
        first = views.setdefault(prefix, name)
        for field_name in ("pt", "phi"):
            one, other = (varied.fields.get((view, field_name)) for view in (first, name))
            if one != other:
                message = (
                    f"{first} and {name} are the same objects ({prefix}) and vary differently; "
                    f"expected {field_name} to vary alike, for propagate_to_met counts it once"
                )
                raise problem(message, f"{where}.{name}.{field_name}")
