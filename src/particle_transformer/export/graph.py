"""The exported graph: raw columns in, logits and probabilities out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from particle_transformer.export.inputs import GraphInput, mask_name
from particle_transformer.export.objects import PaddedScope
from particle_transformer.export.outputs import fold_of, mean_logits, of_fold, probabilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from particle_transformer.export.inputs import RawColumns
    from particle_transformer.model import AnalysisObjectTransformer

__all__ = ["NetworkInputs", "RawGraph"]


@dataclass(frozen=True)
class NetworkInputs:
    """What the networks see of a batch, padded.

    Attributes
    ----------
    objects, occupied, momenta
        By collection: (batch, slots, features), bool (batch, slots), and (batch, slots, 4) or None.
    event
        (batch, event features).
    truncated
        int64 (batch, collections): objects that ``max`` has cut.
    """

    objects: dict[str, Tensor]
    occupied: dict[str, Tensor]
    momenta: dict[str, Tensor] | None
    event: Tensor
    truncated: Tensor


class RawGraph(nn.Module):
    """Everything from the raw columns of events to their scores, as one module.

    Parameters
    ----------
    raw
        The columns.
    parameters
        What the networks are told besides: inputs that follow the columns.
    networks
        The networks by fold, several where ``training.ensemble`` asks for some.
    two_scores
        Whether two logits are two scores of signal.
    float_inputs
        Whether all inputs are float32, masks with 1 for what is padded.
    trimmed
        Whether the slots that no event of a batch needs are cut before the networks.

    Attributes
    ----------
    inputs
        In the order of the arguments of `forward`.
    outputs
        Names, in the order of its results.
    """

    def __init__(
        self,
        raw: RawColumns,
        parameters: Sequence[GraphInput],
        networks: Sequence[Sequence[AnalysisObjectTransformer]],
        *,
        two_scores: bool,
        float_inputs: bool,
        trimmed: bool,
    ) -> None:
        super().__init__()
        self.raw = raw
        self.inputs = (*raw.inputs, *parameters)
        self.networks = nn.ModuleList(nn.ModuleList(members) for members in networks)
        self.two_scores = two_scores
        self.float_inputs = float_inputs
        self.trimmed = trimmed
        self.targets = int(networks[0][0].arguments["regression_targets"])
        single = ["logits", "probabilities", "score"] + ["regression"] * bool(self.targets)
        self.outputs = [*single]
        if len(networks) > 1:
            self.outputs += [*(f"ensemble_{name}" for name in single), "fold"]
        self.outputs.append("truncated")

    def forward(self, *columns: Tensor) -> tuple[Tensor, ...]:
        """The outputs, of the inputs in order."""
        given = dict(zip((each.name for each in self.inputs), columns, strict=True))
        if self.float_inputs:
            given = {each.name: _typed(given[each.name], each) for each in self.inputs}
        seen = self.network_inputs(given)
        logits, regression = [], []
        for members in self.networks:
            assert isinstance(members, nn.ModuleList)
            found = [self._run(network, seen) for network in members]
            logits.append(mean_logits([each for each, _ in found], two_scores=self.two_scores))
            regression.append(torch.stack([each for _, each in found]).mean(0))
        if len(logits) == 1:
            return (*self._results(logits[0], regression[0]), seen.truncated)
        fold = fold_of([given[name] for name in self.raw.identity], len(logits))
        ensemble = mean_logits(logits, two_scores=self.two_scores)
        return (
            *self._results(of_fold(logits, fold), of_fold(regression, fold)),
            *self._results(ensemble, torch.stack(regression).mean(0)),
            fold,
            seen.truncated,
        )

    def network_inputs(self, given: Mapping[str, Tensor]) -> NetworkInputs:
        """What the networks see, of the columns by name."""
        columns: dict[str, Tensor] = {}
        occupied: dict[str, Tensor] = {}
        for each in self.inputs:
            values = given[each.name]
            if each.group is not None:
                # One more slot without an object: no reduction is over nothing.
                values = torch.cat([values, _slot(values, padded=each.kind == "mask")], 1)
            columns[each.name] = values
        for group in dict.fromkeys(self.raw.groups.values()):
            occupied[group] = ~columns[mask_name(group)]
        scope = PaddedScope(self.raw, columns, occupied)
        analysis = self.raw.names.analysis
        objects, kept, momenta, truncated = {}, {}, {}, []
        for name in analysis.objects:
            features, chosen, vectors, cut = scope.objects(name)
            if self.trimmed:
                slot = torch.arange(chosen.shape[1])
                needed = slot[slot < chosen.to(torch.int64).sum(1).max().clamp(min=1)]
                features, chosen = features.index_select(1, needed), chosen.index_select(1, needed)
                vectors = None if vectors is None else vectors.index_select(1, needed)
            objects[name], kept[name] = features, chosen
            truncated.append(cut)
            if vectors is not None:
                momenta[name] = vectors
        rows = [scope.event_feature(text) for text in analysis.event.features]
        rows += [given[each.name] for each in self.inputs if each.kind == "parameter"]
        like = next(iter(kept.values()))
        event = torch.stack(rows, 1) if rows else torch.zeros_like(like[:, :0], dtype=torch.float32)
        return NetworkInputs(objects, kept, momenta or None, event, torch.stack(truncated, 1))

    def _run(self, network: nn.Module, seen: NetworkInputs) -> tuple[Tensor, Tensor]:
        """Logits, and regressed quantities; (batch, 0) without any."""
        masks = {name: ~occupied for name, occupied in seen.occupied.items()}
        arguments = (seen.objects, seen.event, masks)
        if self.targets:
            found = network.predict_dense(*arguments, momenta=seen.momenta)  # type: ignore[operator]
            return found.logits, found.regression
        logits: Tensor = network.forward_dense(*arguments, momenta=seen.momenta)  # type: ignore[operator]
        return logits, logits[:, :0]

    def _results(self, logits: Tensor, regression: Tensor) -> list[Tensor]:
        found = probabilities(logits, two_scores=self.two_scores)
        return [logits, found, found[:, 0], *([regression] if self.targets else [])]


def _slot(values: Tensor, *, padded: bool) -> Tensor:
    """One more slot (batch, 1)."""
    return torch.full((values.shape[0], 1), 1 if padded else 0, dtype=values.dtype)


def _typed(values: Tensor, each: GraphInput) -> Tensor:
    """A float32 input as what it stands for."""
    if each.dtype.kind == "b":
        return values != 0
    if each.dtype.kind in "iu":
        return values.to(torch.int64)
    return values.to(torch.float64) if each.dtype.itemsize == 8 else values
