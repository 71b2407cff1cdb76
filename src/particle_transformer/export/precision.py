"""Fewer bits for the weights of an ONNX model, and what that costs in AUC."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from torch import nn

from particle_transformer.data import Store
from particle_transformer.errors import InputFileError, SampleError, require
from particle_transformer.evaluation.roc import auc
from particle_transformer.events import fold_of
from particle_transformer.events.classes import DATA, SIGNAL
from particle_transformer.events.conditioning import Conditioning
from particle_transformer.events.packed import PackedBatch
from particle_transformer.export.onnx_file import onnx_model, runner
from particle_transformer.export.outputs import mean_logits, probabilities
from particle_transformer.model.packing import EventGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import onnx
    from numpy.typing import NDArray
    from torch import Tensor

    from particle_transformer.artefact.run_folder import RunFolder
    from particle_transformer.config import Analysis
    from particle_transformer.events import Events
    from particle_transformer.model import AnalysisObjectTransformer

__all__ = ["Precision", "auc_loss", "reduced"]

Precision: TypeAlias = Literal["fp32", "fp16", "int8"]

_BATCH = 1024
_REPLICAS = 50
_SMALLEST = 256
"""Numbers in a tensor below which it stays as it is."""


def reduced(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """The same model with weights of fewer bits.

    ``fp16``: weights are stored in 16 bits, and computed with in float32. ``int8``: matrix products
    of 8-bit integers, whose inputs are rounded by their range in the batch (ONNX Runtime's dynamic
    quantisation).
    """
    if precision == "fp32":
        return model
    return _half(model) if precision == "fp16" else _integer(model)


def _half(model: onnx.ModelProto) -> onnx.ModelProto:
    library = require("onnx", "export")
    small: onnx.ModelProto = library.ModelProto()
    small.CopyFrom(model)
    kept, casts = [], []
    for tensor in small.graph.initializer:
        wide = tensor.data_type == library.TensorProto.FLOAT and np.prod(tensor.dims) >= _SMALLEST
        if not wide:
            kept.append(tensor)
            continue
        values = library.numpy_helper.to_array(tensor)
        name = f"{tensor.name}_half"
        kept.append(library.numpy_helper.from_array(values.astype(np.float16), name))
        casts.append(
            library.helper.make_node("Cast", [name], [tensor.name], to=library.TensorProto.FLOAT)
        )
    nodes = [*casts, *small.graph.node]
    del small.graph.initializer[:], small.graph.node[:]
    small.graph.initializer.extend(kept)
    small.graph.node.extend(nodes)
    return small


def _integer(model: onnx.ModelProto) -> onnx.ModelProto:
    library = require("onnx", "export")
    quantization = require("onnxruntime.quantization", "export")
    root = logging.getLogger()
    level = root.level
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "int8.onnx"
        root.setLevel(logging.ERROR)  # it recommends a preprocessing that changes nothing here
        try:
            quantization.quantize_dynamic(
                model, out, op_types_to_quantize=["MatMul", "Gemm"],
                weight_type=quantization.QuantType.QInt8, per_channel=True,
            )  # fmt: skip
        finally:
            root.setLevel(level)
        small: onnx.ModelProto = library.load(out)
    return small


class _FeatureGraph(nn.Module):
    """A network by itself: padded features in, logits out."""

    def __init__(self, network: AnalysisObjectTransformer) -> None:
        super().__init__()
        self.network = network

    def forward(self, event: Tensor, *tensors: Tensor) -> tuple[Tensor]:
        names = self.network.collections
        count = len(names)
        objects, masks = (
            dict(zip(names, tensors[n * count : (n + 1) * count], strict=True)) for n in (0, 1)
        )
        momenta = (
            dict(zip(names, tensors[2 * count :], strict=True))
            if self.network.spec.momenta
            else None
        )
        return (self.network.forward_dense(objects, event, masks, momenta=momenta),)


def auc_loss(
    run: RunFolder,
    analysis: Analysis,
    networks: Mapping[int, Sequence[AnalysisObjectTransformer]],
    metadata: Mapping[str, Any],
    precision: Precision,
    *,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """What fewer bits cost: AUC of signal against backgrounds on the run's test events.

    Every event is scored by the networks of its own fold, once as they are and once reduced, in the
    signal regions, with physics weights. Only events of the folds in `networks` are.

    Raises
    ------
    InputFileError
        If the run's store is gone or altered.
    """
    store = Store(run.store())
    if store.manifest.fingerprint != run.read_record()["store_fingerprint"]:
        message = f"{store.path}: the store has changed since {run.path} was trained; train again"
        raise InputFileError(message)
    events = store.events()
    classes = np.array(store.manifest.classes)[events.process]
    inside = np.logical_or.reduce([events.regions[name] for name in analysis.signal_regions])
    folds = int(run.read_record()["folds"])
    fold = np.where(inside & (classes != DATA), fold_of(events.identity, folds), -1)
    exact, rounded = np.full(len(events), np.nan), np.full(len(events), np.nan)
    for done, (number, members) in enumerate(networks.items()):
        progress(f"AUC in {precision}", done, len(networks))
        rows = np.flatnonzero(fold == number)
        part = events.take(rows)
        if metadata["conditioning"] is not None:
            known = Conditioning.from_json(metadata["conditioning"])
            part = known.apply(part, known.fixed_draws(part.identity))
        two_scores = bool(metadata["two_scores"])
        exact[rows] = _scores(part, [_packed(network) for network in members], two_scores)
        small = [_small(network, part, precision) for network in members]
        rounded[rows] = _scores(part, small, two_scores)
    progress(f"AUC in {precision}", len(networks), len(networks))
    chosen = np.flatnonzero(np.isin(fold, list(networks)))
    return _difference(
        exact[chosen], rounded[chosen], events.weight[chosen], classes[chosen] == SIGNAL
    )


def _difference(
    exact: NDArray[np.float64],
    rounded: NDArray[np.float64],
    weight: NDArray[np.float64],
    is_signal: NDArray[np.bool_],
) -> dict[str, Any]:
    before, after = (auc(score, weight, is_signal) for score in (exact, rounded))
    if before.value is None or after.value is None:
        message = f"the AUC that --precision costs is undefined: {before.reason or after.reason}"
        raise SampleError(message)
    rng = np.random.default_rng(1)
    losses = []
    for _ in range(_REPLICAS):
        drawn = weight * rng.poisson(1.0, len(weight))
        one, other = (auc(score, drawn, is_signal).value for score in (exact, rounded))
        losses.append(np.nan if one is None or other is None else one - other)
    error = float(np.std(losses, ddof=1))
    return {
        "auc": before.value,
        "auc_loss": before.value - after.value,
        "auc_loss_error": error if np.isfinite(error) else None,
        "events": len(weight),
    }


Scorer: TypeAlias = "Callable[[PackedBatch], Tensor]"


def _packed(network: AnalysisObjectTransformer) -> Scorer:
    def score(batch: PackedBatch) -> Tensor:
        with torch.inference_mode():
            return network.forward_packed(batch)

    return score


def _small(network: AnalysisObjectTransformer, events: Events, precision: Precision) -> Scorer:
    example = _grid(network, PackedBatch.from_events(events.slice(0, min(len(events), 8))))
    axes = {
        name: {0: "batch"} if name == "event" else {0: "batch", 1: f"slots_{name.split(':')[1]}"}
        for name in example
    }
    model = onnx_model(
        _FeatureGraph(network), example, ["logits"], {**axes, "logits": {0: "batch"}}
    )
    run = runner(reduced(model, precision).SerializeToString())

    def score(batch: PackedBatch) -> Tensor:
        return torch.from_numpy(run(_grid(network, batch))["logits"])

    return score


def _scores(events: Events, scorers: Sequence[Scorer], two_scores: bool) -> NDArray[np.float64]:
    found = [np.zeros(0)]
    for start in range(0, len(events), _BATCH):
        batch = PackedBatch.from_events(events.slice(start, min(start + _BATCH, len(events))))
        logits = mean_logits([scorer(batch).double() for scorer in scorers], two_scores=two_scores)
        found.append(probabilities(logits, two_scores=two_scores)[:, 0].numpy())
    return np.concatenate(found)


def _grid(network: AnalysisObjectTransformer, batch: PackedBatch) -> dict[str, NDArray[Any]]:
    """The inputs of `_FeatureGraph`, padded."""
    grids = {name: EventGrid.from_offsets(batch.offsets[name]) for name in network.collections}
    found = {"event": batch.event}
    found |= {f"objects:{name}": grid.scatter(batch.objects[name]) for name, grid in grids.items()}
    found |= {f"mask:{name}": ~grid.occupied for name, grid in grids.items()}
    if network.spec.momenta and batch.momenta is not None:
        found |= {
            f"momenta:{name}": grid.scatter(batch.momenta[name]) for name, grid in grids.items()
        }
    return {name: tensor.numpy() for name, tensor in found.items()}
