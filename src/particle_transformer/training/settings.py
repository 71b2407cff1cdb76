"""How a network is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from particle_transformer.errors import AnalysisFileError, nearest
from particle_transformer.training.augmentation import Augmentation
from particle_transformer.training.sampler import Sampling

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
        Highest learning rate of AdamW.
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
        parameters and the stream of objects in float32 all the same. Scores are always computed
        in float32.
    augmentation
        Symmetries by which training events are transformed at random; none by default.
    """

    epochs: int = 30
    batch_size: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_epochs: float = 1.0
    patience: int = 6
    gradient_clip: float = 1.0
    seed: int = 1
    sampling: Sampling = "shuffled"
    precision: Precision = "float32"
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "patience", "gradient_clip"):
            if not getattr(self, name) > 0:
                message = f"{name}: got {getattr(self, name)}, expected a positive number"
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
