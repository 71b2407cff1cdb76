"""What a training begins from (`Training.init`): the shipped network, another one, or a run's."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from particle_transformer.artefact import load_artefact
from particle_transformer.artefact.run_folder import RunFolder
from particle_transformer.config import PRETRAINED, Model
from particle_transformer.errors import AnalysisFileError, InputFileError
from particle_transformer.training.provenance import ancestors_of, check_unseen, files_of
from particle_transformer.training.reuse import Inputs, plan_reuse
from particle_transformer.training.takeover import initialise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from particle_transformer.config import Analysis
    from particle_transformer.data import Manifest
    from particle_transformer.model import AnalysisObjectTransformer
    from particle_transformer.training.reuse import Reuse

__all__ = ["Initial", "initial_of", "known_files", "shipped", "with_initial"]

_FREE = ("dropout", "layer_scale")
"""Arguments of the network that change no shape and nothing of what it has learnt."""

_OPTIONAL = ("pair_bias", "event_features")
"""Arguments that may differ where the analysis file gives them: parts of it are then fresh."""

_FOLLOWING = ("linear_dims1", "linear_dims2")
_NEEDED = ("objects", "event", "classes", "offsets", "inputs", "ancestors")


def shipped() -> Path:
    """The folder of the network that comes with this package."""
    return Path(str(files("particle_transformer") / "pretrained"))


@dataclass(frozen=True)
class Initial:
    """What the networks of an analysis begin from.

    Attributes
    ----------
    name
        As the analysis file has it.
    path
        The folder of a network, or of a run: then each network begins from that of its own fold.
    run
        What the run's ``run.json`` says; None for a single network.
    """

    name: str
    path: Path
    run: Mapping[str, Any] | None

    def load(
        self, fold: int = 0, number: int = 0
    ) -> tuple[AnalysisObjectTransformer, dict[str, Any]]:
        """The network that one of the new networks begins from, and its metadata.

        Raises
        ------
        InputFileError
            If it is damaged, or does not say what its columns are.
        """
        with torch.random.fork_rng():  # which building it draws from
            model, metadata = load_artefact(self._folder(fold, number))
        missing = [key for key in _NEEDED if key not in metadata]
        if missing:
            message = (
                f"{self.path}: the network does not say what it was trained with (no "
                f"{', '.join(missing)} in its metadata); expected one that aot train has written"
            )
            raise InputFileError(message)
        return model, metadata

    def digest(self) -> str:
        """SHA-256 of all its networks, hexadecimal."""
        # A configuration has the checksum of the weights, which is checked when they are loaded.
        found = hashlib.sha256()
        for folder in self._folders():
            if not (config := folder / "config.json").exists():
                message = f"training.init: {config}: is missing; copy all of the run"
                raise InputFileError(message)
            found.update(hashlib.sha256(config.read_bytes()).digest())
        return found.hexdigest()

    def give(
        self, model: AnalysisObjectTransformer, own: Inputs, fold: int = 0, number: int = 0
    ) -> None:
        """Initialise a network, that of a fold (and of a number in its ensemble).

        Parameters
        ----------
        model
            With fresh weights; overwritten where something is taken over.
        own
            What its inputs are.
        """
        older, metadata = self.load(fold, number)
        inputs = _inputs(metadata)
        plan = plan_reuse(model.arguments, own, older.arguments, inputs)
        initialise(model, older, plan, inputs.offsets)

    def plan(self, arguments: Mapping[str, Any], own: Inputs) -> Reuse:
        """What a network with these constructor's arguments takes over; the same for all folds."""
        older, metadata = self.load()
        return plan_reuse(arguments, own, older.arguments, _inputs(metadata))

    def check(self, analysis: Analysis, manifest: Manifest) -> None:
        """Check that no network begins from one that has read events of its own fold.

        Raises
        ------
        AnalysisFileError
            If one might.
        """
        _, metadata = self.load()
        check_unseen(self.name, metadata, self._identity(), analysis, manifest)

    def _identity(self) -> list[str] | None:
        """What identifies the events of a run; None for a single network."""
        if self.run is None:
            return None
        config = json.loads((RunFolder(self.path).artefact / "config.json").read_text())
        return [str(name) for name in config["identity"]]

    def _folder(self, fold: int, number: int) -> Path:
        if self.run is None:
            return self.path
        return RunFolder(self.path).network(fold, number % int(self.run["ensemble"]))

    def _folders(self) -> list[Path]:
        return [self.path] if self.run is None else RunFolder(self.path).networks()


def initial_of(analysis: Analysis) -> Initial | None:
    """What the networks of an analysis begin from; None: from weights of the seed alone.

    Raises
    ------
    AnalysisFileError
        If a run has another number of folds.
    InputFileError
        If there is neither a network nor a run.
    """
    name = analysis.training.init
    if name is None:
        return None
    path = shipped() if name == PRETRAINED else Path(name)
    run = RunFolder(path)
    if not (run.record.exists() or run.unfinished.exists()):
        if not (path / "model.safetensors").exists():
            message = (
                f"training.init: {name}: neither a network (config.json, model.safetensors) nor a "
                f"run (run.json) is there; expected {PRETRAINED}, or the folder of one of them"
            )
            raise InputFileError(message)
        return Initial(name, path, None)
    record = run.read_record()
    if record["folds"] != analysis.training.folds:
        message = (
            f"training.init: the run {name} has {record['folds']} folds, this analysis "
            f"{analysis.training.folds}; each network begins from that of its own fold: expected "
            "the same number, or the folder of one network, as in RUN/artefact/fold-0/network-0"
        )
        raise AnalysisFileError(message)
    return Initial(name, path, record)


def with_initial(analysis: Analysis) -> Analysis:
    """The analysis with the widths and numbers of blocks of what its networks begin from.

    Raises
    ------
    AnalysisFileError
        If the analysis file gives others.
    InputFileError
        If what it begins from cannot be read.
    """
    initial = initial_of(analysis)
    if initial is None:
        return analysis
    older, _ = initial.load()
    model, stated = analysis.model, analysis.model.model_fields_set
    theirs = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in older.arguments.items()
        if name in Model.model_fields and name not in _FREE
    }
    if not (analysis.event.features or analysis.training.condition):
        del theirs["event_features"]
    different = {
        name: value
        for name, value in theirs.items()
        if name in stated and name not in _OPTIONAL and getattr(model, name) != value
    }
    if "embed_dims" in different:  # which gives the others, unless they are given as well
        for name in _FOLLOWING:
            if getattr(model, name) == model.embed_dims:
                different.pop(name, None)
    if different:
        own = ", ".join(f"{name} {_shown(getattr(model, name))}" for name in different)
        needed = ", ".join(f"{name}: {_shown(value)}" for name, value in different.items())
        message = (
            f"model: got {own}, but the network of training.init: {initial.name} is another; leave "
            f"them out, or give {needed}"
        )
        raise AnalysisFileError(message)
    values = {
        name: value for name, value in theirs.items() if not (name in stated and name in _OPTIONAL)
    }
    return analysis.model_copy(update={"model": model.model_copy(update=values)})


def known_files(analysis: Analysis, manifest: Manifest) -> dict[str, list[str]]:
    """What the metadata of a network say of the files that it has learnt from.

    Returns
    -------
    dict
        ``inputs``: those of its own training events, ``ancestors``: others, of what it began from.
    """
    own, initial = files_of(manifest), initial_of(analysis)
    ancestors = [] if initial is None else ancestors_of(initial.load()[1], own)
    return {"inputs": own, "ancestors": ancestors}


def _inputs(metadata: Mapping[str, Any]) -> Inputs:
    return Inputs(metadata["objects"], metadata["event"], metadata["classes"], metadata["offsets"])


def _shown(value: object) -> str:
    return json.dumps(value)
