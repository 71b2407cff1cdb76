"""Export a run as a folder that scores anywhere."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from particle_transformer.artefact.run_folder import RunFolder, check_new
from particle_transformer.atomic import check_name, writing
from particle_transformer.config import dump_analysis
from particle_transformer.hub.card import run_card
from particle_transformer.hub.facts import read_facts

__all__ = ["export_run"]


def export_run(run: RunFolder, out: Path, *, repository: str | None = None) -> Path:
    """Write what scoring needs of a run, and its model card, as a folder for the Hub.

    The folder is a run itself, without events, checkpoints and logs: ``aot predict`` and
    ``from_pretrained(…, fold=F)`` take it. Places of files in the analysis file are reduced to
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
        If it is no run, or a file of it is missing, damaged or altered.
    OutputError
        If `out` is not empty or cannot be written.
    """
    check_new(out, "the export")
    check_name(out.absolute())
    facts = read_facts(run)
    card = run_card(facts, repository or out.name, repository=repository is not None)
    record = {key: value for key, value in facts.record.items() if key != "store"}
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        try:
            (folder := RunFolder(part / out.name)).path.mkdir()
            shutil.copytree(run.artefact, folder.artefact)
            masks = _masks(facts.analysis)
            folder.analysis.write_text(
                _without_places(dump_analysis(facts.analysis), masks), encoding="utf-8"
            )
            for place, copied in masks.items():
                shutil.copy(place, folder.path / copied)
            folder.record.write_text(json.dumps(record, indent=1) + "\n")
            if facts.metrics is not None:
                folder.evaluation.mkdir()
                shutil.copy(run.evaluation / "metrics.json", folder.evaluation)
            (folder.path / "README.md").write_text(card, encoding="utf-8")
            folder.path.replace(out)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return out


def _masks(analysis: Any) -> dict[str, str]:
    """Luminosity masks of the eras: where each is, and what its copy is called."""
    places = {era.lumi_mask for era in analysis.eras.values() if era.lumi_mask is not None}
    return {str(place): f"lumi_mask_{number}.json" for number, place in enumerate(sorted(places))}


def _without_places(text: str, masks: dict[str, str]) -> str:
    """The analysis file with the names of files in the place of their paths."""

    def reduced(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: reduced(each) for key, each in value.items()}
        if isinstance(value, list):
            return [reduced(each) for each in value]
        if isinstance(value, str) and value.startswith("/"):
            return masks.get(value, Path(value).name)
        return value

    content: str = yaml.safe_dump(reduced(yaml.safe_load(text)), sort_keys=False, width=100)
    return content
