"""The artefact's ``README.md``: what the network reads, what it says, and where not to trust it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "DESCRIBED",
    "FRONT_MATTER",
    "about_citation",
    "about_inputs",
    "about_network",
    "about_outputs",
    "about_parameters",
    "model_card",
]

FRONT_MATTER: dict[str, Any] = {
    "license": "apache-2.0",
    "library_name": "analysis-object-transformer",
    "pipeline_tag": "tabular-classification",
    "tags": ["high-energy-physics", "lhc", "event-classification", "transformer"],
}
"""What the Hub is told of every network, between the card's first lines of dashes."""

DESCRIBED = ("analysis", "fold", "folds", "classes", "objects", "event", "store_fingerprint")
"""Keys of the metadata of a network that was trained for a fold of an analysis."""


def model_card(metadata: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    """Describe a network for whoever finds its folder.

    Parameters
    ----------
    metadata
        As `save_artefact` gets it. With the keys `DESCRIBED` the card names classes, features in
        column order, fold and limits: ``analysis`` and ``store_fingerprint`` are str, ``fold`` and
        ``folds`` int, ``classes`` and ``event`` lists of str, ``objects`` lists of str by
        collection. If one is missing the card is what `arguments` alone tell. Optional are
        ``two_scores`` (bool), ``conditioning`` (as `Conditioning.to_json`) and ``regression``
        (list of str: the regressed quantities).
    arguments
        The constructor's arguments, as `AnalysisObjectTransformer.arguments`.

    Returns
    -------
    str
        Markdown.
    """
    sections = [about_network(arguments)]
    if all(key in metadata for key in DESCRIBED):
        conditioning = metadata.get("conditioning")
        sections = [
            _title(metadata),
            *sections,
            about_outputs(metadata, arguments["num_outputs"]),
            about_inputs(metadata["objects"], metadata["event"]),
            *([] if conditioning is None else [about_parameters(conditioning)]),
            _call(arguments),
            _fold(metadata["fold"], metadata["folds"]),
            _limits(metadata),
        ]
    else:
        sections = ["# AnalysisObjectTransformer", *sections, _call(arguments)]
    lines = [
        f"{key}: {value}" if isinstance(value, str) else f"{key}: [{', '.join(value)}]"
        for key, value in FRONT_MATTER.items()
    ]
    front = "\n".join(["---", *lines, "---"])
    licence = "## Licence\n\nApache-2.0"
    return "\n\n".join([front, *sections, about_citation(arguments), licence]) + "\n"


def _title(metadata: Mapping[str, Any]) -> str:
    return (
        f"# {metadata['analysis']}: network of fold {metadata['fold']} of {metadata['folds']}\n\n"
        f"Classifies LHC collision events as {' or '.join(metadata['classes'])}. It was trained "
        "with simulated events of the analysis's signal regions."
    )


def about_network(arguments: Mapping[str, Any]) -> str:
    """What kind of network it is, by its arguments."""
    bias = "with" if arguments["pair_bias"] else "without"
    targets = arguments.get("regression_targets", 0)  # older networks do not know it
    second = (
        f" A second head regresses {targets} event quantities (`model.predict`), in the units of "
        "their training values."
        if targets
        else ""
    )
    return (
        f"An AnalysisObjectTransformer of {arguments['num_att_blocks']} attention and "
        f"{arguments['num_class_blocks']} class-attention blocks with {arguments['num_heads']} "
        f"heads, {bias} pair bias. `config.json` holds all its arguments and metadata, "
        f"`model.safetensors` its weights and the scaling of its inputs.{second}"
    )


def about_outputs(metadata: Mapping[str, Any], outputs: int) -> str:
    """What its logits mean."""
    classes = metadata["classes"]
    if metadata.get("two_scores", False):
        signal, background = classes
        meaning = (
            f"Two logits per event, trained to be independent of each other in {background}: each "
            f"is the log-odds of {signal} against {background}, and its sigmoid a score of its own "
            "(arXiv:2007.14400). The sigmoid of their sum is the combined score."
        )
    elif outputs == 1:
        signal, background = classes
        meaning = (
            f"One logit per event: the log-odds of {signal} against {background}. Its sigmoid is "
            f"the probability of {signal}."
        )
    else:
        names = "\n".join(f"- column {column}: {name}" for column, name in enumerate(classes))
        meaning = (
            f"{outputs} logits per event, one per class. Their softmax gives the probabilities of "
            f"the classes; the first class is {classes[0]}.\n\n{names}"
        )
    if targets := metadata.get("regression", ()):
        meaning += f"\n\nRegressed quantities:\n\n{_columns(targets)}"
    return (
        f"## Output\n\n{meaning}\n\nProbabilities are for the proportions that the classes "
        "had in training (by default equal ones), not for the expected yields."
    )


def about_parameters(conditioning: Mapping[str, Any]) -> str:
    """The parameters that it is conditioned on, and at which values it was trained."""
    names = conditioning["names"]
    columns = ", ".join(f"`{name}`" for name in names)
    points = "\n".join(
        "- " + ", ".join(f"{name} = {value:g}" for name, value in zip(names, point, strict=True))
        for point in conditioning["points"]
    )
    return (
        f"## Parameters\n\nThe last event features, {columns}, say for which signal an event is "
        "scored (arXiv:1601.07913): give all events, of data and simulation alike, those of the "
        "hypothesis that is tested. The network was trained with the points below; between them it "
        f"interpolates, beyond them it cannot be trusted.\n\n{points}"
    )


def about_inputs(objects: Mapping[str, Sequence[str]], event: Sequence[str]) -> str:
    """Its features, in the order of their columns."""
    parts = [
        (
            "## Input\n\nFeatures in the order of their columns, before any scaling: the network "
            "scales them itself. Momenta, energies and masses are in GeV, angles in radians."
        )
    ]
    parts += [
        f"Of each object in `{name}`:\n\n{_columns(features)}" for name, features in objects.items()
    ]
    parts.append(f"Of the event:\n\n{_columns(event)}" if event else "Of the event: none.")
    return "\n\n".join(parts)


def _columns(features: Sequence[str]) -> str:
    if not features:
        return "- none"
    return "\n".join(f"- column {column}: `{name}`" for column, name in enumerate(features))


def _call(arguments: Mapping[str, Any]) -> str:
    named = not isinstance(arguments["input_dim_obj"], int)
    kind = "a dict with a tensor for each collection" if named else "one tensor"
    lines = [
        f"- `objects`: {kind}, (events, slots, features)",
        "- `event`: (events, event features)",
        (
            "- `padding_mask`: like `objects`, bool (events, slots); **True = padded**, as in "
            "`torch.nn.MultiheadAttention`"
        ),
    ]
    momenta = ""
    if arguments["pair_bias"]:
        lines.append("- `momenta`: like `objects`, (events, slots, 4): px, py, pz, E in GeV")
        momenta = ", momenta=momenta"
    code = (
        "from particle_transformer import AnalysisObjectTransformer\n"
        'model = AnalysisObjectTransformer.from_pretrained("path/of/this/folder")\n'
        f"logits = model(objects, event, padding_mask{momenta})"
    )
    return f"## Use\n\n```python\n{code}\n```\n\n" + "\n".join(lines)


def _fold(fold: int, folds: int) -> str:
    return (
        f"## Fold\n\nThe network never read an event of fold {fold}: not in training, not in "
        f"validation, not for the scaling. Events of the other {folds - 1} of the {folds} folds "
        "may have been trained on, so that its scores of those samples are biased: score each "
        "event with the network of its own fold, as `aot evaluate` does. The fold is a hash of the "
        "event's identity."
    )


def _limits(metadata: Mapping[str, Any]) -> str:
    return (
        "## Limits\n\n"
        "- Only events that pass the selection of a signal region, with the features above made "
        "in the same way, are like those it was trained with; elsewhere it extrapolates.\n"
        "- It knows the simulation, not the data: differences between them are not in its score, "
        "nor are systematic uncertainties.\n"
        "- Its training events are those of the prepared store with the fingerprint "
        f"`{metadata['store_fingerprint']}`."
    )


def about_citation(arguments: Mapping[str, Any]) -> str:
    """Papers of what it is made of."""
    text = "## Citation\n\nClass attention and LayerScale: arXiv:2103.17239"
    return text + ("; pair bias: arXiv:2202.03772" if arguments["pair_bias"] else "")
