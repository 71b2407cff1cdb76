"""The analysis file and the Python interface train the same way by default."""

from __future__ import annotations

import dataclasses

import pytest

from particle_transformer.config import Training
from particle_transformer.training.settings import FitSettings

MADE_OF_SEVERAL_KEYS = {"objective", "conditioning"}
NAMES = {field.name for field in dataclasses.fields(FitSettings)} - MADE_OF_SEVERAL_KEYS


@pytest.mark.parametrize("name", sorted(NAMES))
def test_defaults_are_those_of_the_analysis_file(name: str) -> None:
    default = getattr(FitSettings(), name)
    if name == "augmentation":  # the library's has the behaviour of the features with it
        default = default.transformations
    assert default == getattr(Training(), name)
