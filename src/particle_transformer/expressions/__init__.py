"""Expressions of the analysis file: selections and derived quantities, without evaluating Python.

>>> import numpy as np
>>> from particle_transformer.expressions import Value, evaluate_events, parse
>>> jets = Value(np.array([50.0, 40.0, 30.0]), "jets", np.array([0, 2, 2, 3]))
>>> evaluate_events(parse("sum(jets.pt)"), {"jets.pt": jets}.__getitem__, events=3)
array([90.,  0., 30.])
"""

from particle_transformer.expressions.conjuncts import conjuncts
from particle_transformer.expressions.expression import (
    Expression,
    evaluate_events,
    evaluate_objects,
    parse,
)
from particle_transformer.expressions.functions import FUNCTIONS
from particle_transformer.expressions.values import Value

__all__ = [
    "FUNCTIONS",
    "Expression",
    "Value",
    "conjuncts",
    "evaluate_events",
    "evaluate_objects",
    "parse",
]
