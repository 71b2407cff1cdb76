"""Reading and writing the analysis file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from particle_transformer.config.analysis import Analysis
from particle_transformer.config.messages import describe
from particle_transformer.config.normalise import normalise
from particle_transformer.config.tuning_checks import check_tuning
from particle_transformer.errors import AnalysisFileError

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["dump_analysis", "load_analysis", "parse_analysis"]


def load_analysis(path: Path) -> Analysis:
    """Read and validate an analysis file; no data is opened.

    Parameters
    ----------
    path
        A YAML file. Relative paths in it are taken relative to its folder.

    Raises
    ------
    AnalysisFileError
        If it cannot be read, or a key or value is wrong; one line that names the key.

    Examples
    --------
    >>> from pathlib import Path
    >>> from particle_transformer.config import load_analysis
    >>> load_analysis(Path("missing.yaml"))
    Traceback (most recent call last):
    ...
    particle_transformer.errors.AnalysisFileError: missing.yaml: cannot read the analysis file ...
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"{path}: cannot read the analysis file ({error.strerror})"
        raise AnalysisFileError(message) from error
    except UnicodeDecodeError as error:
        message = f"{path}: not a text file in UTF-8 (byte {error.start})"
        raise AnalysisFileError(message) from error
    return parse_analysis(_read_yaml(text, str(path)), base=path.parent, label=str(path))


def parse_analysis(data: object, *, base: Path, label: str = "analysis") -> Analysis:
    """Validate an analysis that is already in memory, as `load_analysis` does.

    Parameters
    ----------
    data
        What the YAML file holds.
    base
        The folder that relative paths are relative to.
    label
        What errors call it.

    Raises
    ------
    AnalysisFileError
        If a key or value is wrong.
    """
    if not isinstance(data, dict):
        found = "nothing" if data is None else f"a {type(data).__name__}"
        message = f"{label}: found {found}, expected keys such as name, processes, objects"
        raise AnalysisFileError(message)
    try:
        plain = normalise(data)
        analysis = Analysis.model_validate(plain, context={"base": base})
        check_tuning(analysis)
    except ValidationError as error:
        message = f"{label}: {describe(error)}"
        raise AnalysisFileError(message) from error
    except AnalysisFileError as error:
        message = f"{label}: {error}"
        raise AnalysisFileError(message) from error
    return analysis


def dump_analysis(analysis: Analysis) -> str:
    """Write the resolved analysis as YAML, which `load_analysis` reads back equal."""
    plain = analysis.model_dump(mode="json", by_alias=True, exclude_none=True)
    # PyYAML reads unescaped Unicode line breaks (NEL, LS, PS) back as spaces.
    content = json.dumps(plain, ensure_ascii=False)
    breaks = any(character in content for character in ("\x85", "\u2028", "\u2029"))
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=not breaks, width=100)
    return text


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML in which a key that is given twice is an error, not a silent override."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[tuple[str, str], yaml.Node] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    message = f"the key {key.value} is given twice"
                    raise yaml.MarkedYAMLError(problem=message, problem_mark=key.start_mark)
                seen[key.tag, key.value] = key
        return super().construct_mapping(node, deep=deep)


def _read_yaml(text: str, label: str) -> object:
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        message = f"{label}: {where}{error.problem or error.context}"
        raise AnalysisFileError(message) from error
    except (yaml.YAMLError, ValueError) as error:
        message = f"{label}: not valid YAML ({' '.join(str(error).split())})"
        raise AnalysisFileError(message) from error
    except RecursionError as error:
        message = f"{label}: not valid YAML (nested too deeply)"
        raise AnalysisFileError(message) from error
