"""The three forms of the network as parameters of tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

from model.samples import Padded
from particle_transformer import AnalysisObjectTransformer

__all__ = ["FORMS", "Form", "forms"]

Form = Callable[[AnalysisObjectTransformer, Padded], Tensor]

FORMS: dict[str, Form] = {
    "padded": lambda model, events: events(model),
    "packed": lambda model, events: model.forward_packed(events.packed()),
    "dense": lambda model, events: model.forward_dense(
        events.objects, events.event, events.mask, momenta=events.momenta
    ),
}
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
