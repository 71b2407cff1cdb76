"""The search space against the analysis: every value must give an analysis that is allowed."""

from __future__ import annotations

from itertools import combinations, product
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from particle_transformer.config.analysis import Analysis
from particle_transformer.config.messages import describe
from particle_transformer.config.tuning import Choices, Range, choice_label
from particle_transformer.errors import AnalysisFileError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check_tuning", "with_space", "with_values"]

_BATCH_SIZE = "training.batch_size"

_FOLLOWING = ("linear_dims1", "linear_dims2")
"""The widths that follow ``model.embed_dims``."""

_FREE = ("model.dropout",)
"""What a network that begins from another one need not have in common with it."""

_ALL_OF_RANGE, _ALL_OF_PAIR = 1024, 64
"""Of a range with steps or whole numbers so many are all checked, alone and beside those of another
key; of more, and of a range without steps, the ends."""


def with_values(analysis: Analysis, values: Mapping[str, Any]) -> Analysis:
    """Set dotted keys of an analysis.

    With ``model.embed_dims`` go the widths that are equal to it and not set themselves, as they do
    where an analysis file leaves them out.

    Parameters
    ----------
    analysis
        The analysis; not changed.
    values
        Value by key, such as ``training.learning_rate``.

    Raises
    ------
    AnalysisFileError
        If the analysis is not allowed with them.
    """
    plain = analysis.model_dump(mode="json", by_alias=True, exclude_none=True)
    if "model.embed_dims" in values:
        model = plain["model"]
        for name in _FOLLOWING:
            if f"model.{name}" not in values and model[name] == model["embed_dims"]:
                del model[name]
    for key, value in values.items():
        section, _, name = key.partition(".")
        plain[section] = {**plain[section], name: value}
    try:
        return Analysis.model_validate(plain)
    except ValidationError as error:
        raise AnalysisFileError(describe(error)) from error


def check_tuning(analysis: Analysis) -> None:
    """Refuse a search space with values that the analysis cannot have.

    Each value is tried alone, and each pair of values of two keys.

    Raises
    ------
    AnalysisFileError
        One line that names the key and the value.
    """
    tuning = analysis.tuning
    if tuning.folds > analysis.training.folds:
        message = (
            f"tuning.folds: got {tuning.folds}, expected at most training.folds = "
            f"{analysis.training.folds}"
        )
        raise AnalysisFileError(message)
    if _BATCH_SIZE in tuning.space and _depends_on_batch_size(analysis):
        message = (
            f"tuning.space.{_BATCH_SIZE}: cannot be tuned with disco or double_disco: the smaller "
            "the batches, the larger the distance correlation in the validation loss; leave it out"
        )
        raise AnalysisFileError(message)
    for key in tuning.space:
        if _is_given(analysis, key):
            message = (
                f"tuning.space.{key}: cannot be tuned with training.init, whose network has it; "
                "leave it out"
            )
            raise AnalysisFileError(message)
    for key, entry in tuning.space.items():
        for value in _tried(key, entry, _ALL_OF_RANGE):
            reason = _refusal(analysis, {key: value})
            if reason:
                message = f"tuning.space.{key}: {_shown(value)} is refused ({reason})"
                raise AnalysisFileError(message)
    tried = {key: _tried(key, entry, _ALL_OF_PAIR) for key, entry in tuning.space.items()}
    for (first, firsts), (second, seconds) in combinations(tried.items(), 2):
        for one, other in product(firsts, seconds):
            reason = _refusal(analysis, {first: one, second: other})
            if reason:
                message = (
                    f"tuning.space: {first} = {_shown(one)} and {second} = {_shown(other)} do not "
                    f"go together ({reason}); leave one of them out"
                )
                raise AnalysisFileError(message)


def with_space(analysis: Analysis) -> Analysis:
    """The analysis with the search space spelt out: the usual one where its file gives none."""
    if analysis.tuning.space:
        return analysis
    width, blocks = analysis.model.embed_dims, analysis.model.num_att_blocks
    batch = analysis.training.batch_size
    usual: dict[str, Choices | Range] = {
        "training.learning_rate": Range(low=3e-4, high=3e-3, log=True),
        "training.weight_decay": Range(low=1e-3, high=1e-1, log=True),
        "training.batch_size": (max(1, batch // 2), batch, 2 * batch),
        "model.dropout": Range(low=0.0, high=0.3, step=0.05),
        "model.embed_dims": (max(1, width // 2), width, 2 * width),
        "model.num_att_blocks": Range(low=max(1, blocks - 1), high=blocks + 1),
    }
    if _depends_on_batch_size(analysis):
        del usual[_BATCH_SIZE]
    usual = {key: entry for key, entry in usual.items() if not _is_given(analysis, key)}
    space: dict[str, Choices | Range] = {}
    for key, entry in usual.items():
        allowed = tuple(
            value
            for value in _tried(key, entry, _ALL_OF_RANGE)
            if not _refusal(analysis, {key: value})
        )
        if isinstance(entry, Range):
            space[key] = entry
        elif len(set(allowed)) > 1:
            space[key] = tuple(dict.fromkeys(allowed))
    tuning = analysis.tuning.model_copy(update={"space": space})
    resolved = analysis.model_copy(update={"tuning": tuning})
    check_tuning(resolved)
    return resolved


def _depends_on_batch_size(analysis: Analysis) -> bool:
    """Whether the validation loss does: whether it has a term with a bias of 1 / batch size."""
    training = analysis.training
    return training.disco is not None or training.double_disco is not None


def _is_given(analysis: Analysis, key: str) -> bool:
    """Whether a key is that of the network which the training begins from."""
    return analysis.training.init is not None and key.startswith("model.") and key not in _FREE


def _tried(key: str, entry: Choices | Range, most: int) -> list[Any]:
    """All values of an entry, or the ends of a range with more than `most`."""
    if not isinstance(entry, Range):
        return list(entry)
    ends = [entry.low, entry.high]
    step = 1 if entry.step is None and entry.is_whole(key) else entry.step
    if step is None:
        return ends
    steps = round((entry.high - entry.low) / step)
    if steps >= most:
        return ends
    return [*(entry.low + number * step for number in range(steps)), entry.high]


def _refusal(analysis: Analysis, values: Mapping[str, Any]) -> str | None:
    try:
        with_values(analysis, values)
    except AnalysisFileError as error:
        return str(error)
    return None


def _shown(value: Any) -> str:
    label = choice_label(value)
    if isinstance(label, bool):
        return str(label).lower()
    return "null" if label is None else str(label)
