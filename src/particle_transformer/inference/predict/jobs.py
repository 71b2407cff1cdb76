"""Which output each input file gets, in which format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from particle_transformer.data.readers import guess_format
from particle_transformer.data.readers.remote import is_url
from particle_transformer.errors import InputFileError, OutputError
from particle_transformer.inference.predict.provenance import Recipe, read_provenance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from particle_transformer.config import Analysis
    from particle_transformer.data.files import InputFile

__all__ = ["Format", "Job", "check_outputs", "format_of", "output_of"]

Format: TypeAlias = Literal["friend", "copy", "parquet"]


@dataclass(frozen=True)
class Job:
    """One file to score.

    Attributes
    ----------
    file
        The input.
    output
        What is written for it.
    output_format
        In which format.
    columns
        The scores that it will have.
    blinded
        The regions in which it has none, because it is recorded data.
    recipe
        How they are made.
    """

    file: InputFile
    output: Path
    output_format: Format
    columns: list[str]
    blinded: list[str]
    recipe: Recipe

    @property
    def fingerprint(self) -> str:
        """Of everything that decides the output."""
        return self.recipe.fingerprint_of(self.file, self.output_format)


def format_of(analysis: Analysis, file: InputFile, wanted: Format | None) -> Format:
    """The format of a file's output; without a wish a friend of ROOT files, Parquet of others.

    Raises
    ------
    InputFileError
        If a file that is not of ROOT cannot have it, or there is no such format.
    """
    is_root = (analysis.source.format or guess_format(file.path)) not in ("parquet", "hdf5")
    if wanted is None:
        return "friend" if is_root else "parquet"
    if wanted not in get_args(Format):
        message = f"output format {wanted!r}: expected one of {', '.join(get_args(Format))}"
        raise InputFileError(message)
    if wanted != "parquet" and not is_root:
        message = f"{file.path}: no ROOT file; --format {wanted} is for those, expected parquet"
        raise InputFileError(message)
    return wanted


def output_of(out: Path, file: InputFile, output_format: Format) -> Path:
    """The output in the folder `out`: it has the name of the input."""
    name = PurePath(urlsplit(file.path).path if is_url(file.path) else file.path).name
    if output_format == "parquet":
        return out / f"{PurePath(name).stem}.parquet"
    return out / name


def check_outputs(jobs: Sequence[Job]) -> None:
    """Refuse two inputs with one output, and what must not be replaced.

    Raises
    ------
    OutputError
        If there is such a one.
    """
    owners: dict[Path, Job] = {}
    for job in jobs:
        other = owners.setdefault(job.output, job)
        if other is not job:
            message = (
                f"{job.file.path} and {other.file.path} would both be written to {job.output}; "
                "score them into different folders"
            )
            raise OutputError(message)
        if str(job.output.resolve()) == job.file.path:
            message = f"{job.output}: is the input itself; give --out another folder"
            raise OutputError(message)
        if job.output.exists() and read_provenance(job.output) is None:
            message = (
                f"{job.output}: exists and was not written by aot predict; remove it, or give "
                "--out another folder"
            )
            raise OutputError(message)
