"""What `aot compare` trains, and how: one section of the analysis file."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from particle_transformer.config.types import Features, Real, Section, Whole, each_once, problem

__all__ = ["Comparison", "DeepSets", "Dense", "Part", "Trees"]

_Positive = Annotated[Real, Field(gt=0.0)]
_Share = Annotated[Real, Field(gt=0.0, le=1.0)]
_Width = Annotated[Whole, Field(ge=1)]
_Widths = Annotated[tuple[_Width, ...], Field(min_length=1)]
_Dropout = Annotated[Real, Field(ge=0.0, lt=1.0)]


class Trees(Section):
    """Gradient-boosted trees; the names are those of XGBoost.

    Attributes
    ----------
    max_depth, learning_rate, subsample, colsample, min_child_weight
        Of each tree; the last in units of the mean training weight, `colsample` per tree.
    rounds
        Trees at most.
    patience
        Trees without a better validation loss after which the training stops.
    """

    max_depth: Annotated[Whole, Field(ge=1)] = 5
    learning_rate: _Positive = 0.05
    subsample: _Share = 0.8
    colsample: _Share = 0.8
    min_child_weight: Annotated[Real, Field(ge=0.0)] = 2.0
    rounds: Annotated[Whole, Field(ge=1)] = 3000
    patience: Annotated[Whole, Field(ge=1)] = 50


class Dense(Section):
    """A dense network on padded inputs.

    Attributes
    ----------
    widths
        Of the hidden layers.
    dropout
        Probability after each of them.
    """

    widths: _Widths = (256, 256, 128)
    dropout: _Dropout = 0.1


class DeepSets(Section):
    """A particle-flow network; by default that of arXiv:1810.05165.

    Attributes
    ----------
    object_widths
        Hidden layers of Φ, the network of each object; the last is the latent dimension.
    event_widths
        Hidden layers of F, the network of the sums.
    dropout
        Probability after each layer of F.
    """

    object_widths: _Widths = (100, 100, 256)
    event_widths: _Widths = (100, 100, 100)
    dropout: _Dropout = 0.0


class Part(Section):
    """The Particle Transformer of weaver-core; by default that of arXiv:2202.03772.

    Attributes
    ----------
    embed_dims
        Of the objects' embedding.
    pair_dims
        Of the pairs' embedding.
    heads, layers, class_layers
        How many.
    """

    embed_dims: _Widths = (128, 512, 128)
    pair_dims: _Widths = (64, 64, 64)
    heads: _Width = 8
    layers: _Width = 8
    class_layers: _Width = 2


def _two_or_none(texts: tuple[str, ...]) -> tuple[str, ...]:
    if len(texts) not in (0, 2):
        message = (
            f"got {len(texts)}, expected two: what is sliced, and what is binned in each slice"
        )
        raise problem(message)
    return texts


class Comparison(Section):
    """How other classifiers are trained beside the network.

    Attributes
    ----------
    seeds
        Trainings of every method and fold, which differ by their seeds.
    features
        Engineered features of the trees, beside the event features: expressions, evaluated as
        ``event.spectators`` are. Empty: what can be said of each collection (see
        `particle_transformer.studies.compare.tables.engineered`).
    binned
        Two such expressions, as of HT and MET: the limit of an analysis in slices of the first and
        bins of the second is compared, too. Empty: it is not.
    trees, trees_raw, dense, deep_sets, part
        Settings of the methods.
    """

    seeds: Annotated[Whole, Field(ge=1)] = 5
    features: Annotated[Features, AfterValidator(each_once)] = ()
    binned: Annotated[Features, AfterValidator(_two_or_none)] = ()
    trees: Trees = Trees()
    trees_raw: Trees = Trees()
    dense: Dense = Dense()
    deep_sets: DeepSets = DeepSets()
    part: Part = Part()
