"""Rates of exported networks in ONNX Runtime, and of our packed scorer, on the same events in one run.

ParT (weaver-core, all objects) and this project's network have equal width, blocks, heads and pair
network (`peers.py`), and both start from padded features and momenta. Events come in batches of mixed
multiplicity, as a file has them:

- *padded*: every batch in one call, padded to the cap, as ParT is deployed;
- *grouped*: the events of a chunk ordered by multiplicity first, every batch padded to its own largest;
- *packed*: `forward_packed`, which `aot evaluate` and `aot predict` call; no ONNX Runtime.

The calls take turns; each figure is a median.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from model_speed import multiplicities, simulated_sample
from peers import EventSet, Network, ours, particle_transformer
from torch import Tensor, nn

from particle_transformer.export.onnx_file import onnx_model, runner

if TYPE_CHECKING:
    from collections.abc import Callable

SLOTS = 16


class _Padded(nn.Module):
    """A network of padded tensors."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.model = network.model

    def forward(
        self, objects: Tensor, momenta: Tensor, mask: Tensor, event: Tensor
    ) -> tuple[Tensor]:
        events = EventSet(None, objects, momenta, mask, event, event)  # type: ignore[arg-type]
        return (self.network.logits(events),)


def inputs_of(events: EventSet, rows: Tensor, slots: int) -> dict[str, Any]:
    """Padded inputs of some events, by name."""
    return {
        "objects": events.objects[rows, :slots].numpy(),
        "momenta": events.momenta[rows, :slots].numpy(),
        "mask": events.padding_mask[rows, :slots].numpy(),
        "event": events.event[rows].numpy(),
    }


def exported(network: Network, events: EventSet, threads: int) -> Callable[[dict[str, Any]], Any]:
    """The network in ONNX Runtime."""
    axes = {name: {0: "batch", 1: "slots"} for name in ("objects", "momenta", "mask")}
    example = inputs_of(events, torch.arange(8), SLOTS)
    model = onnx_model(
        _Padded(network),
        example,
        ["logits"],
        {**axes, "event": {0: "batch"}, "logits": {0: "batch"}},
    )
    names = [each.name for each in model.graph.input]
    run = runner(model.SerializeToString(), threads)
    return lambda inputs: run({name: inputs[name] for name in names})["logits"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    parser.add_argument("--events", type=int, default=16384)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    counts = multiplicities(simulated_sample(options.folder)).clamp(min=1)  # ParT has NaN for none
    drawn = torch.randint(
        len(counts), (options.events,), generator=torch.Generator().manual_seed(1)
    )
    events = EventSet.draw(counts[drawn], SLOTS)
    batches = torch.arange(options.events).split(options.batch)
    grouped = events.counts.argsort(stable=True).split(options.batch)

    network = ours(options.width, pair_bias=True)
    dense = replace(
        network,
        logits=lambda each: network.model.forward_dense(  # type: ignore[operator]
            each.objects, each.event, each.padding_mask, momenta=each.momenta
        ),
    )
    part = particle_transformer(options.width, pair_bias=True, trim=False)
    part.model.eval()
    network.model.eval()
    packed = [
        EventSet.draw(events.counts[rows], SLOTS) for rows in batches
    ]  # multiplicities of the same events
    theirs, mine = (exported(each, events, options.threads) for each in (part, dense))

    def padded(run: Callable[[dict[str, Any]], Any], parts: tuple[Tensor, ...], trim: bool) -> None:
        for rows in parts:
            slots = int(events.counts[rows].max()) if trim else SLOTS
            run(inputs_of(events, rows, slots))

    def by_kernels() -> None:
        with torch.inference_mode():
            for each in packed:
                network.logits(each)

    calls: dict[str, Callable[[], None]] = {
        "ParT, padded (ONNX Runtime)": lambda: padded(theirs, batches, False),
        "this project, padded (ONNX Runtime)": lambda: padded(mine, batches, False),
        "this project, grouped (ONNX Runtime)": lambda: padded(mine, grouped, True),
        "this project, packed (forward_packed)": by_kernels,
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(options.rounds + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if number:  # the first is to get warm
                seconds[name].append(time.perf_counter() - started)
    print(
        f"width {options.width}, batch {options.batch}, {options.threads} threads, "
        f"{events.counts.float().mean():.1f} objects per event of {SLOTS} slots\n"
    )
    print("| | events/s | of ParT |\n|---|--:|--:|")
    slow = statistics.median(seconds["ParT, padded (ONNX Runtime)"])
    for name, found in seconds.items():
        median = statistics.median(found)
        print(f"| {name} | {options.events / median:,.0f} | {slow / median:.2f} |")


if __name__ == "__main__":
    main()
