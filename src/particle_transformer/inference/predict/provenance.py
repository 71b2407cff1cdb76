"""What an output says of how it came about, and whether it is the one that would be made."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import uproot

from particle_transformer._version import __version__
from particle_transformer.config import analysis_fingerprint
from particle_transformer.data.files import sha256_of
from particle_transformer.data.tasks import CHUNK_ENTRIES

if TYPE_CHECKING:
    from particle_transformer.artefact.run_folder import RunFolder
    from particle_transformer.config import Analysis
    from particle_transformer.data.files import InputFile
    from particle_transformer.inference.predict.jobs import Format
    from particle_transformer.inference.predict.parts import Counts
    from particle_transformer.inference.predict.work import ScoreOptions

__all__ = ["KEY", "Recipe", "read_provenance"]

KEY = "aot"
"""Where an output has its provenance as JSON: an object of a ROOT file, a key of a Parquet file."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the scores of a command but the files.

    Attributes
    ----------
    analysis
        Its name.
    artefacts
        SHA-256 of each network's ``config.json``, which holds that of its weights.
    fingerprint
        Of the run as far as scores depend on it.
    options
        What the user asked for.
    """

    analysis: str
    artefacts: dict[str, str]
    fingerprint: str
    options: ScoreOptions

    @staticmethod
    def of(run: RunFolder, analysis: Analysis, options: ScoreOptions) -> Recipe:
        """That of a run.

        Raises
        ------
        InputFileError
            If a file of it cannot be read.
        """
        artefacts = {
            str(path.relative_to(run.artefact)): sha256_of(path / "config.json")
            for path in run.networks()
        }
        fingerprint = _digest(
            # Not its input files, which may be elsewhere now.
            analysis=analysis_fingerprint(
                analysis, sections=("source", "eras", "objects", "event", "regions", "variations")
            ),
            classes=list(analysis.classes),
            masks={path: sha256_of(Path(path)) for path in analysis.files_read},
            artefacts=artefacts,
        )
        return Recipe(analysis.name, artefacts, fingerprint, options)

    def key(self, file: InputFile, start: int, stop: int) -> str:
        """Name of the scores of a chunk: what they are made from, whatever the format."""
        return _digest(made_from=self._made_from(file), start=start, stop=stop)[:32]

    def fingerprint_of(self, file: InputFile, output_format: Format) -> str:
        """Of everything that decides a file's output."""
        return _digest(made_from=self._made_from(file), output_format=output_format)

    def provenance(
        self, file: InputFile, output_format: Format, counts: Counts, columns: list[str]
    ) -> dict[str, Any]:
        """What the output of a file says."""
        return {
            "software": f"analysis-object-transformer {__version__}",
            "fingerprint": self.fingerprint_of(file, output_format),
            "analysis": self.analysis,
            "run": self.fingerprint,
            "artefacts": self.artefacts,
            "input": asdict(file),
            "columns": columns,
            **asdict(self.options),
            "at": list(self.options.at),  # as JSON gives it back
            "counts": asdict(counts),
        }

    def _made_from(self, file: InputFile) -> str:
        return _digest(
            run=self.fingerprint,
            options=asdict(self.options),
            file=asdict(file),
            version=__version__,
            chunk=CHUNK_ENTRIES,
        )


def read_provenance(path: Path) -> dict[str, Any] | None:
    """What an output says of itself; None where it is none, or not readable."""
    try:
        if path.suffix == ".root":
            with uproot.open({str(path): None}) as file:
                found = json.loads(str(file[KEY]))
        else:
            found = json.loads(pq.read_schema(path).metadata[KEY.encode()])
    except Exception:  # noqa: BLE001 (of a file that another program wrote anything may come)
        return None
    return found if isinstance(found, dict) and "fingerprint" in found else None


def _digest(**content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
