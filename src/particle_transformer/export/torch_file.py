"""The graph as a program of ``torch.export``."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from particle_transformer.export.graph import RawGraph

__all__ = ["METADATA", "load_program", "write_program"]

METADATA = "metadata.json"
"""Extra file of the package that holds the metadata."""


class _ByName(nn.Module):
    """The graph with inputs and outputs by name."""

    def __init__(self, graph: RawGraph) -> None:
        super().__init__()
        self.scorer = graph

    def forward(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        found = self.scorer(*(columns[each.name] for each in self.scorer.inputs))
        return dict(zip(self.scorer.outputs, found, strict=True))


def write_program(
    path: Path, graph: RawGraph, example: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]
) -> None:
    """Export the graph and write it.

    Parameters
    ----------
    path
        The file, ending in ``.pt2``.
    graph
        Not trimmed: the shapes that a batch's content decides cannot be exported.
    example
        Inputs by name.
    metadata
        What the package says of itself.
    """
    batch = torch.export.Dim("batch")
    groups = {each.group for each in graph.inputs if each.group is not None}
    slots = {group: torch.export.Dim(f"slots_{n}") for n, group in enumerate(sorted(groups))}
    shapes = {
        each.name: {0: batch} if each.group is None else {0: batch, 1: slots[each.group]}
        for each in graph.inputs
    }
    tensors = {name: torch.from_numpy(values) for name, values in example.items()}
    with warnings.catch_warnings():  # of PyTorch about its own parts
        warnings.simplefilter("ignore")
        program = torch.export.export(
            _ByName(graph).eval(), (tensors,), dynamic_shapes=(shapes,), strict=False
        )
        torch.export.save(
            program, path, extra_files={METADATA: json.dumps(metadata, ensure_ascii=False)}
        )


def load_program(path: Path) -> Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]:
    """A function that runs a written program: outputs by name, of inputs by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.export.load(path).module()

    def run(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        with torch.inference_mode():
            found = module({name: torch.from_numpy(values) for name, values in inputs.items()})
        return {name: values.numpy() for name, values in found.items()}

    return run
