"""Corrections of the weights: values from the files of the correctionlib library."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import (
    TypeAdapter,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from particle_transformer.config.types import (
    Branch,
    ExpressionText,
    LocalFile,
    PlainName,
    Section,
    Texts,
    problem,
)

__all__ = ["Correction", "CorrectionLookup", "Weight"]


class CorrectionLookup(Section):
    """One correction of a file, and what it is asked with.

    Attributes
    ----------
    file
        A JSON file of correctionlib, compressed or not.
    correction
        The correction's (or compound correction's) name in the file.
    inputs
        As many as the correction declares, in its order: literal text where it declares a string,
        an expression where it declares a number.
    """

    file: LocalFile
    correction: Branch
    inputs: Texts


class Correction(CorrectionLookup):
    """A weight that is looked up in a correction file.

    Without `objects` the inputs are expressions of the event. With it they are expressions of the
    collection's selected objects, and the weight is the product over them.

    Attributes
    ----------
    objects
        The collection.
    select
        Only the objects for which it holds count.
    tagged
        Which of them are b-tagged; with `efficiency` the weight is
        Π_tagged SF · Π_untagged (1 − SF·ε)/(1 − ε).
    efficiency
        The tagging efficiency ε in the simulation.
    """

    objects: PlainName | None = None
    select: ExpressionText | None = None
    tagged: ExpressionText | None = None
    efficiency: CorrectionLookup | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The files it reads."""
        return (self.file,) if self.efficiency is None else (self.file, self.efficiency.file)

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        for given, missing in (("tagged", "efficiency"), ("efficiency", "tagged")):
            if getattr(self, given) is not None and getattr(self, missing) is None:
                message = f"missing beside {given}; expected both (b-tagging) or none"
                raise problem(message, missing)
        for key in ("select", "tagged"):
            text = getattr(self, key)
            if text is not None and self.objects is None:
                message = f"got {text!r} without objects; expected objects: the collection"
                raise problem(message, key)
        return self


_EXPRESSION: TypeAdapter[str] = TypeAdapter(ExpressionText)


def _weight(
    value: object, _: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> str | Correction:
    # A union would report the errors of both sides; keys with values are always a correction.
    if isinstance(value, dict | Correction):
        return Correction.model_validate(value, context=info.context)
    return _EXPRESSION.validate_python(value, context=info.context)


Weight = Annotated[str | Correction, WrapValidator(_weight)]
"""An expression, or a correction."""
