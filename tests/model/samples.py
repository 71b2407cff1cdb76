"""Random events for the model's tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.events.packed import PackedBatch

FEATURES = {"jets": 3, "muons": 2}
EVENT_FEATURES = 2


def assert_same_logits(actual: Tensor, expected: Tensor) -> None:
    """Equal to the float32 rounding of some ten layers; logits are of order one."""
    assert_close(actual, expected, rtol=1e-4, atol=2e-5)


def backward(logits: Tensor) -> None:
    """Gradients of a loss that weighs every logit differently."""
    torch.autograd.backward(logits.square().sum())


@dataclass(frozen=True)
class Padded:
    """Arguments of a two-collection model's forward."""

    objects: dict[str, Tensor]
    event: Tensor
    mask: dict[str, Tensor]
    momenta: dict[str, Tensor]

    def __call__(self, model: AnalysisObjectTransformer) -> Tensor:
        logits: Tensor = model(self.objects, self.event, self.mask, momenta=self.momenta)
        return logits

    def packed(self) -> PackedBatch:
        """The same events, packed by plain indexing."""
        real = {name: ~mask for name, mask in self.mask.items()}
        return PackedBatch(
            {name: values[real[name]] for name, values in self.objects.items()},
            {
                name: torch.tensor([0, *np.cumsum(keep.sum(1).numpy())])
                for name, keep in real.items()
            },
            self.event,
            {name: values[real[name]] for name, values in self.momenta.items()},
        )

    def select(self, index: list[int]) -> Padded:
        def pick(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor[index] for name, tensor in tensors.items()}

        return Padded(pick(self.objects), self.event[index], pick(self.mask), pick(self.momenta))

    def shuffled(self, rng: np.random.Generator) -> Padded:
        """The same events with the slots of each event in another order."""
        order = {
            name: torch.from_numpy(
                rng.permuted(np.tile(np.arange(mask.shape[1]), (len(mask), 1)), axis=1)
            )
            for name, mask in self.mask.items()
        }

        def move(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {
                name: torch.take_along_dim(
                    tensor, order[name][..., None] if tensor.ndim == 3 else order[name], 1
                )
                for name, tensor in tensors.items()
            }

        return replace(
            self, objects=move(self.objects), mask=move(self.mask), momenta=move(self.momenta)
        )

    def padded_further(self, more: int, content: float) -> Padded:
        """The same events with `more` slots and with `content` in every padded slot."""

        def grow(tensors: dict[str, Tensor], value: Any) -> dict[str, Tensor]:
            return {
                name: torch.cat(
                    [tensor, tensor.new_full((len(tensor), more, *tensor.shape[2:]), value)], 1
                )
                for name, tensor in tensors.items()
            }

        mask = grow(self.mask, True)
        objects, momenta = grow(self.objects, 0.0), grow(self.momenta, 0.0)
        for name, padded in mask.items():
            objects[name][padded] = content
            momenta[name][padded] = content
        return Padded(objects, self.event, mask, momenta)


def random_momenta(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """px, py, pz, E of plausible objects: pt 5 to 300 GeV, |η| < 3, mass up to 20 GeV."""
    pt = np.exp(rng.uniform(np.log(5), np.log(300), shape))
    eta, phi = rng.uniform(-3, 3, shape), rng.uniform(-np.pi, np.pi, shape)
    mass = rng.uniform(0, 20, shape)
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return np.stack([px, py, pz, np.sqrt(px**2 + py**2 + pz**2 + mass**2)], -1)


def random_events(seed: int, counts: list[tuple[int, int]]) -> Padded:
    """Events with the given numbers of jets and muons, at random slots."""
    rng = np.random.default_rng(seed)
    objects, masks, momenta = {}, {}, {}
    for position, (name, features) in enumerate(FEATURES.items()):
        numbers = np.array([count[position] for count in counts], dtype=np.int64)
        slots = int(numbers.max(initial=0)) + int(rng.integers(2))
        mask = np.arange(slots) >= numbers[:, None]
        masks[name] = torch.from_numpy(rng.permuted(mask, axis=1) if slots else mask)
        shape = (len(counts), slots)
        objects[name] = torch.from_numpy(rng.normal(size=(*shape, features))).float()
        momenta[name] = torch.from_numpy(random_momenta(rng, shape)).float()
    event = torch.from_numpy(rng.normal(size=(len(counts), EVENT_FEATURES))).float()
    return Padded(objects, event, masks, momenta)


multiplicities = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=5)
padded_events = st.builds(random_events, st.integers(0, 2**32 - 1), multiplicities)


def small_model(seed: int = 0, **options: Any) -> AnalysisObjectTransformer:
    """A small model with two collections, a scaling, and blocks that matter."""
    torch.manual_seed(seed)
    arguments: dict[str, Any] = {
        "embed_dims": 8, "linear_dims1": 12, "linear_dims2": 16, "mlp_hidden_1": 8,
        "mlp_hidden_2": 6, "num_heads": 2, "layer_scale": 1.0, "pair_bias": True,
        "event_features": "concatenated",
    }  # fmt: skip
    model = AnalysisObjectTransformer(FEATURES, EVENT_FEATURES, **{**arguments, **options})
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith(".mean"):
                buffer.normal_()
            elif name.endswith(".scale"):
                buffer.uniform_(0.5, 2.0)
        # At birth an object or a bias hardly moves a logit; for the laws to mean something they
        # shall, and no parameter be left at a value that hides it.
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.mul_(1.7)
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or name == "collection_embedding":
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()
