"""Training with Lightning: the networks of an analysis, or one network of one's own events.

Everything that ``aot train`` does is here for a notebook or for a Lightning ``Trainer`` of one's
own; see docs/training.md. The names below are loaded when they are first used: torch and Lightning
take seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from particle_transformer.training.augmentation import Augmentation
    from particle_transformer.training.batch import Batch
    from particle_transformer.training.datamodule import EventDataModule
    from particle_transformer.training.diagnosis import Names
    from particle_transformer.training.fit import FitResult, fit_network, standardise
    from particle_transformer.training.from_analysis import fit_settings
    from particle_transformer.training.module import EventClassifier
    from particle_transformer.training.network import new_network
    from particle_transformer.training.objective import Auxiliary, Decorrelation, Objective
    from particle_transformer.training.roles import fold_samples
    from particle_transformer.training.run import train
    from particle_transformer.training.sample import Sample, make_sample
    from particle_transformer.training.settings import FitSettings
    from particle_transformer.training.task import NetworkTask

__all__ = [
    "Augmentation",
    "Auxiliary",
    "Batch",
    "Decorrelation",
    "EventClassifier",
    "EventDataModule",
    "FitResult",
    "FitSettings",
    "Names",
    "NetworkTask",
    "Objective",
    "Sample",
    "fit_network",
    "fit_settings",
    "fold_samples",
    "make_sample",
    "new_network",
    "standardise",
    "train",
]

_MODULES = {
    "augmentation": ("Augmentation",),
    "batch": ("Batch",),
    "datamodule": ("EventDataModule",),
    "diagnosis": ("Names",),
    "fit": ("FitResult", "fit_network", "standardise"),
    "from_analysis": ("fit_settings",),
    "module": ("EventClassifier",),
    "network": ("new_network",),
    "objective": ("Auxiliary", "Decorrelation", "Objective"),
    "roles": ("fold_samples",),
    "run": ("train",),
    "sample": ("Sample", "make_sample"),
    "settings": ("FitSettings",),
    "task": ("NetworkTask",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
