"""The command `aot export`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads it)
from typing import Annotated, Literal

import typer

from particle_transformer.cli.progress import Progress, say

__all__ = ["export"]


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    to: Annotated[
        Literal["onnx", "torch"],
        typer.Option(help="onnx: one ONNX file; torch: a program of torch.export (.pt2)."),
    ],
    out: Annotated[Path, typer.Option(help="The file.")],
    fold: Annotated[
        int | None,
        typer.Option(min=0, help="Only the networks of this fold; else the graph chooses."),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(help="Of the weights in an ONNX file; what it costs in AUC is measured."),
    ] = "fp32",
    float_inputs: Annotated[
        bool,
        typer.Option(
            "--float-inputs", help="Every input float32, as cms::Ort::ONNXRuntime has it."
        ),
    ] = False,
    era: Annotated[
        str | None, typer.Option(help="Whose names of branches, where eras have several.")
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take the branches from this file, not an input file."),
    ] = None,
) -> None:
    """Write the trained networks as one file that takes raw columns in physical units."""
    from particle_transformer.export.run import export_run

    with Progress() as progress:
        found = export_run(
            run, out, to=to, fold=fold, precision=precision, float_inputs=float_inputs, era=era,
            like=like, progress=progress,
        )  # fmt: skip
    parity = found["parity"]
    say(
        f"checked with {parity['events']} random events: logits differ by "
        f"{parity['max_abs_logit_difference']:.1g} at most"
    )
    if precision != "fp32":
        error = found["auc_loss_error"]
        say(
            f"AUC {found['auc']:.5f} in fp32; {precision} loses {found['auc_loss']:.2g}"
            + (f" ± {error:.1g}" if error is not None else "")
            + f" ({found['events']} test events)"
        )
    say(f"exported {out}")
