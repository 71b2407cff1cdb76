"""The command ``aot export``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import Annotated, Any, Literal

import typer

from particle_transformer.cli.progress import Progress, say
from particle_transformer.errors import AnalysisFileError, OutputError, require

__all__ = ["export"]


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    to: Annotated[
        Literal["onnx", "torch", "hub"],
        typer.Option(
            help="onnx: one ONNX file; torch: a program of torch.export (.pt2); hub: a folder for "
            "the Hugging Face Hub."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="The file, replaced if it is there; for the Hub a new folder.")
    ],
    fold: Annotated[
        int | None,
        typer.Option(
            min=0, help="onnx, torch: only the networks of this fold; else the graph chooses."
        ),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(help="onnx: that of the weights; what it costs in AUC is measured."),
    ] = "fp32",
    float_inputs: Annotated[
        bool,
        typer.Option(
            "--float-inputs",
            help="onnx, torch: every input float32, as cms::Ort::ONNXRuntime has it.",
        ),
    ] = False,
    era: Annotated[
        str | None,
        typer.Option(help="onnx, torch: whose names of branches, where eras have several."),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="onnx, torch: take the branches from this file, not an input file."
        ),
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="hub: upload it as this repository, too."),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="hub: a new repository is private.")
    ] = False,
) -> None:
    """Write the networks of a run for other programs."""
    of_graphs = {
        "fold": fold,
        "precision": precision,
        "float_inputs": float_inputs,
        "era": era,
        "like": like,
    }
    of_hub = {"push": push, "private": private}
    for name, value in (of_graphs if to == "hub" else of_hub).items():
        if not (value is None or value is False or value == "fp32"):  # 0 is a fold
            message = f"--{name.replace('_', '-')}: means nothing with --to {to}; leave it out"
            raise AnalysisFileError(message)
    if private and push is None:
        message = "--private: of the repository, and there is no --push; leave it out"
        raise AnalysisFileError(message)
    if to == "hub":
        _to_hub(run, out, push, private=private)
    else:
        _to_graph(run, out, to=to, **of_graphs)


def _to_hub(run: Path, out: Path, push: str | None, *, private: bool) -> None:
    from particle_transformer.artefact.run_folder import open_run
    from particle_transformer.hub.folder import export_folder
    from particle_transformer.network_files import hub

    if push is not None:
        require("huggingface_hub", "hub")  # before anything is written
    export_folder(open_run(run), out, repository=push)
    if push is not None:
        try:
            address = hub.push(out, push, private=private)
        except OutputError as error:
            message = f"{error}; the folder is whole, upload it with hf upload {push} {out}"
            raise OutputError(message) from error
        say(f"pushed {address}")
    say(f"exported {out}")


def _to_graph(run: Path, out: Path, **options: Any) -> None:
    from particle_transformer.export.run import export_run

    with Progress() as progress:
        found = export_run(run, out, progress=progress, **options)
    parity = found["parity"]
    say(
        f"checked with {parity['events']} random events: logits differ by "
        f"{parity['max_abs_logit_difference']:.1g} at most"
    )
    if options["precision"] != "fp32":
        error = found["auc_loss_error"]
        say(
            f"AUC {found['auc']:.5f} in fp32; {options['precision']} loses {found['auc_loss']:.2g}"
            + (f" ± {error:.1g}" if error is not None else "")
            + f" ({found['events']} test events)"
        )
    say(f"exported {out}")
