"""The sections of the analysis file."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from particle_transformer.config.types import (
    Branch,
    DottedName,
    ExpressionText,
    Features,
    FilePatterns,
    Label,
    LocalFile,
    OtherPatterns,
    PlainName,
    Real,
    Section,
    Whole,
    each_once,
    problem,
)
from particle_transformer.errors import nearest

__all__ = [
    "Clean",
    "Collection",
    "Era",
    "EventFeatures",
    "Model",
    "Process",
    "Region",
    "Source",
]


class Source(Section):
    """How events are stored in the input files.

    Attributes
    ----------
    format
        None: guessed from each file.
    tree
        The tree of ROOT files; a process may name another.
    event_number
        The branch of the event number.
    identity
        The branches that identify an event, from which the folds come; by default the event
        number alone. Empty: a hash of the event's columns.
    non_finite
        What happens to events with NaN or infinity in a feature.
    """

    format: Literal["nanoaod", "delphes", "root", "parquet", "hdf5"] | None = None
    tree: Branch = "Events"
    event_number: Branch | None = None
    identity: tuple[Branch, ...] = ()
    non_finite: Literal["error", "drop"] = "error"

    @model_validator(mode="before")
    @classmethod
    def _identity_from_event_number(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("event_number") and data.get("identity") is None:
            return {**data, "identity": [data["event_number"]]}
        return data

    @model_validator(mode="after")
    def _event_number_identifies(self) -> Self:
        if self.event_number is not None and self.event_number not in self.identity:
            message = (
                f"got {list(self.identity)}, expected the event number {self.event_number} in it"
            )
            raise problem(message, "identity")
        return self


class Era(Section):
    """A data-taking period.

    Attributes
    ----------
    luminosity
        Integrated luminosity in fb⁻¹; None only where no process needs it.
    lumi_mask
        The JSON file of certified luminosity sections: data outside of it is left out.
    trigger
        Which events, of data and simulation alike, are read at all.
    aliases
        The branch (or field of a collection) that a name stands for in this era.
    """

    luminosity: Annotated[Real, Field(gt=0.0)] | None = None
    lumi_mask: LocalFile | None = None
    trigger: ExpressionText | None = None
    aliases: dict[PlainName, Branch] = Field(default_factory=dict)


class Process(Section):
    """Sets of files with one cross-section.

    Attributes
    ----------
    class_name
        ``class`` in the file: ``signal``, ``data``, or the name of a background class.
    cross_section
        In pb; None for data and where the events carry a ready physics weight.
    files
        Paths, glob patterns or URLs by era.
    exclude
        Those of them that are left out.
    tree
        The tree of ROOT files where it differs from `Source.tree`.
    parameters
        What distinguishes a hypothesis of the signal from the others, such as a mass. Only the
        training reads them (`Training.condition`): the prepared events do not depend on them.
    """

    class_name: Label = Field(alias="class")
    cross_section: Annotated[Real, Field(gt=0.0)] | None = None
    files: Annotated[dict[Label, FilePatterns], Field(min_length=1)]
    exclude: OtherPatterns = ()
    tree: Branch | None = None
    parameters: dict[PlainName, Real] = Field(default_factory=dict)


class Clean(Section):
    """Overlap removal.

    Attributes
    ----------
    against
        Collections whose selected objects win.
    dr
        ΔR below which an object is removed; both collections need the fields ``eta`` and ``phi``.
    """

    against: Annotated[tuple[PlainName, ...], Field(min_length=1)]
    dr: Annotated[Real, Field(gt=0.0)]


class Collection(Section):
    """A collection of analysis objects.

    Attributes
    ----------
    collection
        The prefix of its branches (``Jet`` for ``Jet_pt``); with ``{}`` the objects have numbered
        columns (``jet{}`` for ``jet1_pt``, ``jet2_pt``, …); None where `fields` names them all.
    fields
        Fields that differ from, or come on top of, those of the files: expressions over the raw
        fields or branches.
    select
        Which objects are kept; None keeps all.
    clean
        Which of the selected objects are removed because another collection has them.
    sort_by
        The field that orders the objects, descending; None keeps the order of the files.
    max
        How many objects per event the network sees; None: all.
    features
        What the network sees of each object.
    """

    collection: Branch | None = None
    fields: dict[PlainName, ExpressionText] = Field(default_factory=dict)
    select: ExpressionText | None = None
    clean: Clean | None = None
    sort_by: PlainName | None = None
    max: Annotated[Whole, Field(ge=1)] | None = None
    features: Annotated[Features, Field(min_length=1)]

    @model_validator(mode="after")
    def _has_fields(self) -> Self:
        if self.collection is not None:
            if self.collection.count("{}") > 1:
                message = f"got {self.collection!r}, expected one {{}} at most, for the number"
                raise problem(message, "collection")
            return self
        if not self.fields:
            message = "neither collection nor fields is given; expected one of them"
            raise problem(message)
        if self.sort_by is not None and self.sort_by not in self.fields:
            message = f"got {self.sort_by!r}, expected one of the fields; "
            raise problem(message + nearest(self.sort_by, self.fields), "sort_by")
        return self


class EventFeatures(Section):
    """Features of the event as a whole.

    Attributes
    ----------
    define
        Names for expressions, plain or dotted (``met.pt``).
    features
        What the network sees of the event beside its objects.
    spectators
        What is kept of the event and never shown to the network: quantities to decorrelate from,
        regression targets, plots. NaN in recorded data whose files lack a branch of it.
    weight
        The ready physics weight of each event; None: weights come from cross-sections.
    """

    define: dict[DottedName, ExpressionText] = Field(default_factory=dict)
    features: Features = ()
    spectators: Annotated[Features, AfterValidator(each_once)] = ()
    weight: ExpressionText | None = None


class Region(Section):
    """A named selection of events.

    Attributes
    ----------
    select
        Which events belong to it.
    role
        What it is for.
    blind
        Whether its data must not be read without being asked to.
    """

    select: ExpressionText
    role: Literal["signal", "control", "validation"]
    blind: bool = False


class Model(Section):
    """The constructor arguments of `AnalysisObjectTransformer` other than the input widths."""

    embed_dims: Annotated[Whole, Field(ge=1)] = 128
    linear_dims1: Annotated[Whole, Field(ge=1)] = 128
    linear_dims2: Annotated[Whole, Field(ge=1)] = 128
    mlp_hidden_1: Annotated[Whole, Field(ge=1)] = 64
    mlp_hidden_2: Annotated[Whole, Field(ge=1)] = 32
    num_heads: Annotated[Whole, Field(ge=1)] = 8
    feedforward_factor: Annotated[Whole, Field(ge=1)] = 4
    class_feedforward_factor: Annotated[Whole, Field(ge=1)] | None = None
    num_att_blocks: Annotated[Whole, Field(ge=1)] = 3
    num_class_blocks: Annotated[Whole, Field(ge=1)] = 3
    dropout: Annotated[Real, Field(ge=0.0, lt=1.0)] = 0.0
    pair_bias: bool = False
    pair_dims: tuple[Annotated[Whole, Field(ge=1)], ...] = (32, 32)
    layer_scale: Annotated[Real, Field(gt=0.0)] = 0.1
    event_features: Literal["concatenated", "token", "both"] | None = None
    feedforward: Literal["gelu", "swiglu"] = "gelu"
    feature_embedding: Literal["linear", "periodic", "piecewise_linear"] = "linear"

    @model_validator(mode="before")
    @classmethod
    def _widths_follow_embedding(cls, data: object) -> object:
        if not isinstance(data, dict) or data.get("embed_dims") is None:
            return data
        width = data["embed_dims"]
        return {"linear_dims1": width, "linear_dims2": width, **data}

    @model_validator(mode="after")
    def _heads_divide_widths(self) -> Self:
        # Attention works at the blocks' widths; a single block has that of the last.
        for name in ("linear_dims1", "linear_dims2")[int(self.num_att_blocks == 1) :]:
            width = getattr(self, name)
            if width % self.num_heads:
                message = f"got {width}, expected a multiple of num_heads = {self.num_heads}"
                # Where the user gave embed_dims alone, that is the key to mend.
                raise problem(message, "embed_dims" if width == self.embed_dims else name)
        return self
