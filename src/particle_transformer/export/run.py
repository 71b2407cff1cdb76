"""Export a run: one file, checked against the networks it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from particle_transformer.artefact import load_artefact
from particle_transformer.artefact.run_folder import open_run
from particle_transformer.atomic import replacing
from particle_transformer.config import load_analysis
from particle_transformer.errors import InputFileError, OutputError, require
from particle_transformer.events.conditioning import Conditioning
from particle_transformer.export.check import Parity, check, padded_inputs, random_events
from particle_transformer.export.graph import RawGraph
from particle_transformer.export.inputs import GraphInput, raw_columns
from particle_transformer.export.metadata import describe
from particle_transformer.export.onnx_file import onnx_model, runner, with_metadata
from particle_transformer.export.precision import auc_loss, reduced
from particle_transformer.export.torch_file import load_program, write_program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from particle_transformer.artefact.run_folder import RunFolder
    from particle_transformer.export.check import CheckEvents
    from particle_transformer.export.precision import Precision
    from particle_transformer.model import AnalysisObjectTransformer

__all__ = ["export_run"]

_ENDINGS = {"onnx": ".onnx", "torch": ".pt2"}
_EXAMPLES = 16


def export_run(
    path: Path,
    out: Path,
    *,
    to: Literal["onnx", "torch"] = "onnx",
    fold: int | None = None,
    precision: Precision = "fp32",
    float_inputs: bool = False,
    era: str | None = None,
    like: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Write the networks of a run as one file that takes raw columns.

    The file is checked before it takes its name: random events, of every number of objects from 0
    to beyond ``max``, must give the logits that the networks give in PyTorch.

    Parameters
    ----------
    path
        The run.
    out
        The file: ``.onnx``, or ``.pt2`` (a program of ``torch.export``).
    to
        Which of them.
    fold
        Export the networks of this fold alone; None: those of all folds, the graph choosing by the
        hash of the event's identity.
    precision
        Of the weights, for ONNX.
    float_inputs
        Whether all inputs are float32, as CMSSW's ``cms::Ort::ONNXRuntime`` passes them.
    era
        Whose names of branches the inputs have; None: the only ones.
    like
        An input file to take the branches from; None: the first one of the run.
    progress
        Called with (what is being done, steps done, steps in all).

    Returns
    -------
    dict
        The metadata that was written.

    Raises
    ------
    InputFileError
        If the run or the input file cannot be read, or cannot be exported like this.
    OutputError
        If the file cannot be written, or the check fails.
    MissingExtraError
        If onnx or onnxruntime is not installed.
    """
    report = progress or (lambda *_: None)
    _check_request(out, to, precision)
    run = open_run(path)
    analysis = load_analysis(run.analysis)
    networks, metadata = _load(run, fold)
    if fold is None:
        _check_identity(analysis.source.identity, float_inputs=float_inputs)
    raw = raw_columns(analysis, era, like, identity=fold is None)
    parameters, points = _parameters(metadata["conditioning"], raw.inputs)
    graph = RawGraph(
        raw,
        parameters,
        list(networks.values()),
        two_scores=bool(metadata["two_scores"]),
        float_inputs=float_inputs,
        trimmed=to == "onnx",
    ).eval()
    cost: dict[str, Any] = {"precision": precision}
    if precision != "fp32":
        cost |= auc_loss(run, analysis, networks, metadata, precision, progress=report)
    drawn = random_events(raw, points)
    example = padded_inputs(graph, drawn, 0, min(_EXAMPLES, drawn.events))
    folds = list(networks)

    def described(parity: Parity) -> dict[str, Any]:
        return describe(run, graph, metadata, folds=folds, parity=parity, precision=cost)

    report("exporting", 0, 2)
    if to == "torch":
        found = _write_torch(out, graph, example, drawn, described, report)
    else:
        found = _write_onnx(out, graph, example, drawn, described, precision, report)
    report("exporting", 2, 2)
    return found


def _write_onnx(
    out: Path,
    graph: RawGraph,
    example: Mapping[str, NDArray[Any]],
    drawn: CheckEvents,
    described: Callable[[Parity], dict[str, Any]],
    precision: Precision,
    report: Callable[[str, int, int], None],
) -> dict[str, Any]:
    axes = {
        each.name: {0: "batch"} if each.group is None else {0: "batch", 1: f"{each.group}_slots"}
        for each in graph.inputs
    }
    axes |= {name: {0: "batch"} for name in graph.outputs}
    model = onnx_model(graph, example, graph.outputs, axes)
    report("exporting", 1, 2)
    parity = check(graph, drawn, runner(model.SerializeToString()))
    if precision != "fp32":
        model = reduced(model, precision)
        parity = check(graph, drawn, runner(model.SerializeToString()), tolerance=None)
    metadata = described(parity)
    content = with_metadata(model, metadata).SerializeToString()
    require("onnx", "export").checker.check_model(content, full_check=True)
    with replacing(out) as partial:
        partial.write_bytes(content)
    return metadata


def _write_torch(
    out: Path,
    graph: RawGraph,
    example: Mapping[str, NDArray[Any]],
    drawn: CheckEvents,
    described: Callable[[Parity], dict[str, Any]],
    report: Callable[[str, int, int], None],
) -> dict[str, Any]:
    # The metadata says what the check has found, and the check is of what has been exported: the
    # graph itself is checked first, and the file once more before it takes its name.
    parity = check(graph, drawn, _called(graph))
    metadata = described(parity)
    with replacing(out) as partial:
        write_program(partial, graph, example, metadata)
        report("exporting", 1, 2)
        check(graph, drawn, load_program(partial))
    return metadata


def _called(graph: RawGraph) -> Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]:
    def run(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        with torch.inference_mode():
            found = graph(*(torch.from_numpy(inputs[each.name]) for each in graph.inputs))
        return {name: values.numpy() for name, values in zip(graph.outputs, found, strict=True)}

    return run


def _check_request(out: Path, to: str, precision: str) -> None:
    if out.suffix != _ENDINGS[to]:
        message = f"--out {out}: expected a name that ends in {_ENDINGS[to]} for --to {to}"
        raise OutputError(message)
    if not out.parent.is_dir():
        message = f"--out {out}: there is no folder {out.parent}"
        raise OutputError(message)
    if to == "torch" and precision != "fp32":
        message = f"--precision {precision}: of ONNX files alone; leave it out for --to torch"
        raise OutputError(message)
    if to == "onnx":
        for module in ("onnx", "onnxruntime"):  # now, not after a minute
            require(module, "export")


def _check_identity(identity: tuple[str, ...], *, float_inputs: bool) -> None:
    if float_inputs:
        message = (
            "--float-inputs: float32 cannot hold the event numbers by which the graph chooses a fold; "
            "give --fold F as well"
        )
        raise InputFileError(message)
    if not identity:
        message = (
            "the analysis names no source.event_number, and its folds come from a hash of the columns, "
            "which the graph cannot repeat; give --fold F"
        )
        raise InputFileError(message)


def _load(
    run: RunFolder, fold: int | None
) -> tuple[dict[int, list[AnalysisObjectTransformer]], dict[str, Any]]:
    record = run.read_record()
    folds = range(int(record["folds"]))
    if fold is not None and fold not in folds:
        message = f"--fold {fold}: the run has the folds 0 to {len(folds) - 1}"
        raise InputFileError(message)
    networks: dict[int, list[AnalysisObjectTransformer]] = {}
    metadata: dict[str, Any] = {}
    for number in folds if fold is None else [fold]:
        loaded = [load_artefact(run.network(number, n)) for n in range(int(record["ensemble"]))]
        networks[number] = [model for model, _ in loaded]
        metadata = loaded[0][1]
    return networks, metadata


def _parameters(
    conditioning: Mapping[str, Any] | None, columns: tuple[GraphInput, ...]
) -> tuple[list[GraphInput], dict[str, tuple[float, ...]]]:
    """Inputs for the parameters of a conditioned network, and the values it was trained with."""
    if conditioning is None:
        return [], {}
    known = Conditioning.from_json(conditioning)
    taken = {each.name for each in columns}
    inputs, points = [], {}
    for number, name in enumerate(known.names):
        if name in taken:
            message = (
                f"training.condition: {name!r} is the name of a branch too; rename the parameter"
            )
            raise InputFileError(message)
        inputs.append(GraphInput(name, np.dtype(np.float32), None, "parameter"))
        points[name] = tuple(point[number] for point in known.points)
    return inputs, points
