"""Export a run as a folder that scores anywhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from particle_transformer.artefact.run_folder import RunFolder, check_new
from particle_transformer.atomic import check_name, new_folder
from particle_transformer.config import dump_analysis
from particle_transformer.errors import InputFileError
from particle_transformer.hub.card import run_card
from particle_transformer.hub.facts import read_facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from particle_transformer.config import Analysis

__all__ = ["export_folder"]


def export_folder(run: RunFolder, out: Path, *, repository: str | None = None) -> Path:
    """Write what scoring needs of a run, and its model card, as a folder for the Hub.

    The folder is a run itself, without events, checkpoints and logs: ``aot predict`` and
    ``from_pretrained(…, fold=F)`` take it. Places of files, wherever they are named, are reduced to
    their names, so that nothing of the machine goes with it; a luminosity mask is copied.

    Parameters
    ----------
    run
        The run.
    out
        The folder; new or empty.
    repository
        The repository of the Hub that it is for, which the model card's examples then name.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    InputFileError
        If it is no run, or a file of it, or a luminosity mask, is missing, damaged or altered.
    OutputError
        If `out` is not empty or cannot be written.
    """
    check_new(out, "the export")
    check_name(out.absolute())
    facts = read_facts(run)
    card = run_card(facts, repository or out.name, repository=repository is not None)
    masks = _masks(facts.analysis)
    analysis = yaml.safe_load(dump_analysis(facts.analysis))
    record = {key: value for key, value in facts.record.items() if key != "store"}
    for place in masks:
        if not Path(place).is_file():
            message = (
                f"{place}: no such file; expected the luminosity mask, which goes with the run"
            )
            raise InputFileError(message)
    with new_folder(out) as path:
        folder = RunFolder(path)
        shutil.copytree(run.artefact, folder.artefact)
        folder.analysis.write_text(
            yaml.safe_dump(_without_places(analysis, masks), sort_keys=False, width=100),
            encoding="utf-8",
        )
        for place, copied in masks.items():
            shutil.copy(place, path / copied)
        folder.record.write_text(_json(record))
        if facts.metrics is not None:
            folder.evaluation.mkdir()
            (folder.evaluation / "metrics.json").write_text(_json(facts.metrics))
        (path / "README.md").write_text(card, encoding="utf-8")
    return out


def _masks(analysis: Analysis) -> dict[str, str]:
    """Luminosity masks of the eras: where each is, and what its copy is called."""
    places = {era.lumi_mask for era in analysis.eras.values() if era.lumi_mask is not None}
    return {place: f"lumi_mask_{number}.json" for number, place in enumerate(sorted(places))}


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(_without_places(content, {}), indent=1, allow_nan=False) + "\n"


def _without_places(value: Any, masks: Mapping[str, str]) -> Any:
    """The content with the names of files, or of their copies, in the place of their paths."""
    if isinstance(value, dict):
        return {key: _without_places(each, masks) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_places(each, masks) for each in value]
    if isinstance(value, str) and value.startswith("/"):
        return masks.get(value, Path(value).name)
    return value
