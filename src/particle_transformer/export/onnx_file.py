"""A module as one ONNX file."""

from __future__ import annotations

import json
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.onnx.utils import register_custom_op_symbolic, unregister_custom_op_symbolic

from particle_transformer._version import __version__
from particle_transformer.errors import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import onnx
    from numpy.typing import NDArray
    from torch import nn

__all__ = ["OPSET", "onnx_model", "runner", "with_metadata"]

OPSET = 18
"""Of ONNX; ONNX Runtime 1.14 and later have it."""

_UNARY = {"asinh": "Asinh", "sinh": "Sinh", "cosh": "Cosh"}
"""Operators of ONNX that the exporter does not translate by itself."""


def onnx_model(
    module: nn.Module,
    example: Mapping[str, NDArray[Any]],
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
) -> onnx.ModelProto:
    """Export a module by PyTorch's classic exporter.

    The newer one (``dynamo=True``) takes ten times as long for every network, and refuses a number of
    slots that is the smaller of ``max`` and what the caller gives.

    Parameters
    ----------
    module
        Called with the tensors of `example`, in order; gives a tuple.
    example
        Inputs by name.
    outputs
        Names of the outputs.
    axes
        Names of dynamic axes by input and output.

    Raises
    ------
    MissingExtraError
        If onnx is not installed.
    """
    library = require("onnx", "export")
    module.eval()
    tensors = tuple(torch.from_numpy(values) for values in example.values())
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(), _quiet(), _symbolics():
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            module, tensors, path, dynamo=False, opset_version=OPSET,
            input_names=list(example), output_names=list(outputs),
            dynamic_axes={name: dict(named) for name, named in axes.items()},
        )  # fmt: skip
        model: onnx.ModelProto = library.load(path)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the tracer's warnings that shapes are compared: they are, at the model's door."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _symbolics() -> Iterator[None]:
    def translated(operator: str) -> Callable[..., Any]:
        return lambda graph, x: graph.op(operator, x)

    for name, operator in _UNARY.items():
        register_custom_op_symbolic(f"aten::{name}", translated(operator), OPSET)
    try:
        yield
    finally:
        for name in _UNARY:
            unregister_custom_op_symbolic(f"aten::{name}", OPSET)


def with_metadata(model: onnx.ModelProto, metadata: Mapping[str, Any]) -> onnx.ModelProto:
    """Put `metadata` into the model: text as it is, the rest as JSON."""
    require("onnx", "export").helper.set_model_props(
        model,
        {
            key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for key, value in metadata.items()
        },
    )
    model.producer_name, model.producer_version = "analysis-object-transformer", __version__
    model.doc_string = str(metadata["description"])
    return model


def runner(
    content: bytes, threads: int = 0
) -> Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]:
    """A function that runs an ONNX model: outputs by name, of inputs by name.

    Parameters
    ----------
    content
        The model.
    threads
        For each operator; 0: as many as there are cores.

    Raises
    ------
    MissingExtraError
        If onnxruntime is not installed.
    """
    runtime = require("onnxruntime", "export")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]

    def run(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run
