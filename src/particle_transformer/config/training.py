"""How the networks are trained: one section of the analysis file."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from particle_transformer.config.loggers import Logger
from particle_transformer.config.objectives import DisCo, DoubleDisCo, Loss, Regression
from particle_transformer.config.types import (
    InitialNetwork,
    PlainName,
    Real,
    Section,
    Whole,
    each_once,
    one_or_many,
    problem,
    shown,
)
from particle_transformer.expressions.symmetry import Transformation  # noqa: TC001 (pydantic needs it)

__all__ = ["Training"]

_RATE: TypeAdapter[float] = TypeAdapter(Annotated[Real, Field(gt=0.0, allow_inf_nan=False)])


def _rate(value: object, _: ValidatorFunctionWrapHandler) -> float | Literal["auto"]:
    # A union would report the errors of both sides.
    if value == "auto":
        return "auto"
    try:
        return _RATE.validate_python(value)
    except ValidationError as error:
        message = f"got {shown(value)}, expected a number > 0, or auto"
        raise problem(message) from error


def _some_once(loggers: tuple[Logger, ...]) -> tuple[Logger, ...]:
    if not loggers:
        message = "empty; expected at least one"
        raise problem(message)
    each_once(tuple(logger.name for logger in loggers))
    return loggers


class Training(Section):
    """How the networks are trained.

    Attributes
    ----------
    learning_rate
        The largest one of the schedule; ``auto``: found by a range test.
    augmentation
        Symmetries of the collider by which training events are transformed at random.
    loss
        The loss of the classification.
    disco, double_disco
        What the score is decorrelated from; at most one of them.
    regression
        Quantities that a second head regresses.
    condition
        Parameters of the signal processes (`Process.parameters`) that the network is given beside
        the event features (arXiv:1601.07913).
    init
        What the networks begin from: ``pretrained``, the folder of a network, or that of a run;
        None: from weights of the seed alone.
    ensemble
        Networks of each fold, that differ in their seeds.
    ema
        Decay per step of the moving average of the weights; None: there is none.
    accumulate
        Parts in which a step's batch is computed, one after the other.
    compile
        Whether the network is compiled (``torch.compile``).
    loggers
        What logs the training, each at most once.
    checkpoint_minutes
        Minutes between the checkpoints that an interrupted training resumes from.

    The others are those of `particle_transformer.training.settings.FitSettings` and
    `particle_transformer.training.sample.make_sample`.
    """

    folds: Annotated[Whole, Field(ge=2)] = 5
    init: InitialNetwork | None = None
    ensemble: Annotated[Whole, Field(ge=1)] = 1
    epochs: Annotated[Whole, Field(ge=1)] = 30
    batch_size: Annotated[Whole, Field(ge=1)] = 256
    accumulate: Annotated[Whole, Field(ge=1)] = 1
    learning_rate: Annotated[float | Literal["auto"], WrapValidator(_rate)] = 1e-3
    weight_decay: Annotated[Real, Field(ge=0.0)] = 0.01
    warmup_epochs: Annotated[Real, Field(ge=0.0)] = 1.0
    patience: Annotated[Whole, Field(ge=1)] = 6
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 1
    negative_weights: Literal["keep", "abs", "drop"] = "keep"
    balance: Literal["class", "process", "none"] = "class"
    gradient_clip: Annotated[Real, Field(gt=0.0)] = 1.0
    ema: Annotated[Real, Field(gt=0.0, lt=1.0)] | None = None
    sampling: Literal["shuffled", "stratified"] = "shuffled"
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    augmentation: Annotated[
        tuple[Transformation, ...], AfterValidator(each_once), BeforeValidator(one_or_many)
    ] = ()
    loss: Loss = Loss()
    disco: DisCo | None = None
    double_disco: DoubleDisCo | None = None
    regression: Regression | None = None
    condition: Annotated[
        tuple[PlainName, ...], AfterValidator(each_once), BeforeValidator(one_or_many)
    ] = ()
    loggers: Annotated[
        tuple[Logger, ...], AfterValidator(_some_once), BeforeValidator(one_or_many)
    ] = (Logger(name="csv"), Logger(name="tensorboard"))
    checkpoint_minutes: Annotated[Real, Field(gt=0.0)] = 5.0

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.accumulate > self.batch_size:
            message = f"got {self.accumulate}, expected at most batch_size = {self.batch_size}"
            raise problem(message, "accumulate")
        if self.double_disco is None:
            return self
        if self.disco is not None:
            message = "given beside disco; expected one of the two"
            raise problem(message, "double_disco")
        if self.loss.name != "cross_entropy":
            message = f"given beside loss {self.loss.name}; its two scores need cross_entropy"
            raise problem(message, "double_disco")
        return self
