"""How a network is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from particle_transformer.errors import AnalysisFileError, nearest
from particle_transformer.training.augmentation import Augmentation
from particle_transformer.training.objective import Objective
from particle_transformer.training.sampler import Sampling

if TYPE_CHECKING:
    from particle_transformer.events.conditioning import Conditioning

__all__ = ["FitSettings", "Precision"]

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class FitSettings:
    """Hyperparameters of `fit_network`; the defaults are those of the analysis file.

    Attributes
    ----------
    epochs
        Passes over the training events at most; the learning rate's schedule spans them.
    batch_size
        Events per step at most: the epoch is cut into batches of nearly equal size.
    learning_rate
        Highest learning rate of AdamW; ``"auto"``: found by a range test (`find_learning_rate`).
    weight_decay
        AdamW's decoupled weight decay, of matrices only.
    warmup_epochs
        Epochs of linear warm-up, before the cosine decay to zero.
    patience
        Epochs without a better validation loss after which training stops.
    gradient_clip
        Largest norm of the gradient.
    seed
        Of the order of events and of dropout.
    sampling
        ``"shuffled"``, or ``"stratified"``: every batch has the classes in the same proportion.
    precision
        Of the factors of matrix products in training: ``"float32"``, or ``"bfloat16"``, with sums,
        parameters and the stream of objects in float32 all the same. Scores and losses of
        validation are always computed in float32.
    augmentation
        Symmetries by which training events are transformed at random; none by default.
    conditioning
        Parameters that are appended to the event features; none by default.
    objective
        What is minimised: the weighted cross-entropy by default.
    ema
        Decay per step of the exponential moving average of the parameters, which is then what is
        validated and kept; None: no average is taken.
    accumulate
        Parts in which a step's events are computed, one after the other: less memory. A distance
        correlation is that of each part, with the bias of so few events.
    compile
        Whether the network goes through ``torch.compile``.
    checkpoint_minutes
        Minutes between two checkpoints within an epoch; there is one after each epoch besides.
    """

    epochs: int = 30
    batch_size: int = 256
    learning_rate: float | Literal["auto"] = 1e-3
    weight_decay: float = 0.01
    warmup_epochs: float = 1.0
    patience: int = 6
    gradient_clip: float = 1.0
    seed: int = 1
    sampling: Sampling = "shuffled"
    precision: Precision = "float32"
    augmentation: Augmentation = field(default_factory=Augmentation)
    conditioning: Conditioning | None = None
    objective: Objective = field(default_factory=Objective)
    ema: float | None = None
    accumulate: int = 1
    compile: bool = False
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        for name in (
            "epochs", "batch_size", "learning_rate", "patience", "gradient_clip", "accumulate",
            "checkpoint_minutes",
        ):  # fmt: skip
            value = getattr(self, name)
            if not (value == "auto" and name == "learning_rate") and not value > 0:
                message = f"{name}: got {value}, expected a positive number"
                raise AnalysisFileError(message)
        if self.ema is not None and not 0 < self.ema < 1:
            message = f"ema: got {self.ema}, expected a decay between 0 and 1, as 0.999"
            raise AnalysisFileError(message)
        for name in ("weight_decay", "warmup_epochs", "seed"):
            if not getattr(self, name) >= 0:
                message = f"{name}: got {getattr(self, name)}, expected zero or more"
                raise AnalysisFileError(message)
        for name, kind in (("sampling", Sampling), ("precision", Precision)):
            value, known = getattr(self, name), get_args(kind)
            if value not in known:
                message = f"{name}: got {value!r}; {nearest(value, known)}"
                raise AnalysisFileError(message)
