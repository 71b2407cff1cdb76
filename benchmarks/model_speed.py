"""Training and inference of the network, side by side with its peers, on the same events.

Multiplicities are those of simulated jets + MET events (jets, at most 16), which are simulated the
first time. Every figure is a median; the networks take turns, so that what else the machine does
meets all of them. "Share of peak" counts the arithmetic on real objects, and only that; the peak is
measured as well, in two ways: the matrix products of a step *in turn*, each layer on operands of its
own, and each product *repeated* on the same operands, which then lie in a cache if they fit.

On a GPU: --device cuda --batch 4096 16384 --widths 128 256 (times are those of CUDA events).
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import platform
import statistics
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from arithmetic import Products, linear_layers, operations
from peers import EventSet, Network, encoder, ours, particle_transformer
from torch.nn import functional as F

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.config import load_analysis
from particle_transformer.data import Store, StoreRows, prepare
from particle_transformer.training.datamodule import EventDataModule
from particle_transformer.training.heap import reuse_freed_memory
from particle_transformer.training.sample import make_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from particle_transformer.training.batch import Batch

SLOTS = 16
COLLECTION = "jets"


def simulated_sample(folder: Path) -> Path:
    """A prepared store of simulated jets + MET events."""
    sample = folder / "sample"
    if not (sample / "analysis.yaml").exists():
        from particle_transformer.simulation import simulate  # noqa: PLC0415

        print(f"simulating the events whose multiplicities are drawn: {sample}", flush=True)
        simulate(sample, events=1000, seed=424242)
    return prepare(load_analysis(sample / "analysis.yaml"), folder / "store")


def multiplicities(store: Path) -> torch.Tensor:
    """Jets of each event of the sample, at most `SLOTS`."""
    counts = np.concatenate(
        [np.diff(chunk.objects[COLLECTION].offsets) for chunk in StoreRows(Store(store)).chunks()]
    )
    return torch.from_numpy(np.minimum(counts, SLOTS))


def draw_events(counts: torch.Tensor, batch: int, device: str, slots: int = SLOTS) -> EventSet:
    """A batch of random events with multiplicities drawn from `counts`."""
    index = torch.randint(len(counts), (batch,), generator=torch.Generator().manual_seed(1))
    return EventSet.draw(counts[index], slots).to(device)


def loss_of(network: Network, events: EventSet, precision: torch.dtype) -> torch.Tensor:
    """Cross-entropy, computed in `precision`."""
    device = events.event.device.type
    with torch.autocast(device, torch.bfloat16, enabled=precision == torch.bfloat16):
        logits = network.logits(events)
    return F.binary_cross_entropy_with_logits(logits.float(), events.target)


def training(network: Network, events: EventSet, precision: torch.dtype) -> Callable[[], None]:
    """One step: forward, backward, AdamW."""
    network.model.train()
    optimizer = torch.optim.AdamW(network.model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        loss = loss_of(network, events, precision)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def inference(network: Network, events: EventSet, precision: torch.dtype) -> Callable[[], None]:
    """Logits of the events."""
    network.model.eval()

    def step() -> None:
        with (
            torch.inference_mode(),
            torch.autocast(
                events.event.device.type, torch.bfloat16, enabled=precision == torch.bfloat16
            ),
        ):
            network.logits(events)

    return step


def seconds(step: Callable[[], None], device: str) -> float:
    """Of one call."""
    if device == "cpu":
        started = time.perf_counter()
        step()
        return time.perf_counter() - started
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()  # type: ignore[no-untyped-call]
    step()
    end.record()  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end)) / 1000  # type: ignore[no-untyped-call]


def medians(
    steps: dict[str, Callable[[], None]], device: str, rounds: int, warm_up: int = 6
) -> dict[str, float]:
    """Median seconds of each step; they take turns."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    gc.collect()
    for step in steps.values():  # ParT cuts its batches from the sixth on
        for _ in range(warm_up):
            step()
    for _ in range(rounds):
        for name, step in steps.items():
            found[name].append(seconds(step, device))
    return {name: statistics.median(values) for name, values in found.items()}


def compare(
    title: str,
    times: dict[str, float],
    batch: int,
    own: str,
    arithmetic: float | None = None,
    peaks: tuple[float, float] | None = None,
) -> None:
    """Print a table of rates, ratios to `own`, and shares of the peaks."""
    shares = " share of peak (in turn) | share of peak (repeated) |" if peaks else ""
    print(f"\n{title}\n\n| | ms | events/s | this project is |{shares}")
    print("|---|---|---|---|" + "---|---|" * bool(peaks))
    for name, value in times.items():
        ratio = "" if name == own else f"{value / times[own]:.1f} ×"
        row = f"| {name} | {value * 1e3:.1f} | {batch / value:,.0f} | {ratio} |"
        if peaks and arithmetic:
            row += "".join(f" {arithmetic / value / peak:.0%} |" for peak in peaks)
        print(row, flush=True)


def networks(width: int, *, pair_bias: bool, peers: bool, encoders: bool) -> list[Network]:
    """The network of this project, and its peers."""
    found = [ours(width, pair_bias=pair_bias)]
    if peers:
        found += [
            particle_transformer(width, pair_bias=pair_bias, trim=False),
            particle_transformer(width, pair_bias=pair_bias, trim=True),
        ]
    if encoders:
        found += [encoder(width, 5), encoder(width, 3)]
    return found


def width_tables(width: int, counts: torch.Tensor, batch: int, options: argparse.Namespace) -> None:
    """Training and inference of all networks of one width."""
    device, rounds, peers = options.device, options.rounds, options.peers
    events = draw_events(counts, batch, device)
    own = "this project"
    for precision, kind in ((torch.float32, "fp32"), (torch.bfloat16, "bf16 (autocast)")):
        for pair_bias in (False, True):
            layers = linear_layers(width, events.counts, pair_bias=pair_bias)
            products = Products(layers, precision, device)
            peaks = (products.in_turn(), products.repeated()) if device == "cpu" else None
            arithmetic = operations(width, events.counts, pair_bias=pair_bias)
            name = (
                f"width {width}, batch {batch}, {kind}, {'with' if pair_bias else 'no'} pair bias"
            )
            if peaks:
                print(
                    f"\npeak, {name}: {peaks[0] / 1e9:.0f} Gflop/s in turn, {peaks[1] / 1e9:.0f} repeated"
                )
            encoders = not pair_bias and precision == torch.float32  # bf16 slows them, on CPUs
            compared = networks(width, pair_bias=pair_bias, peers=peers, encoders=encoders)
            steps = {net.name: training(net, events, precision) for net in compared}
            times = medians(steps, device, rounds)
            compare(f"Training step, {name}", times, batch, own, 3 * arithmetic, peaks)
            if not pair_bias:
                steps = {net.name: inference(net, events, precision) for net in compared}
                times = medians(steps, device, rounds)
                compare(f"Inference, {name}", times, batch, own, arithmetic, peaks)


def padding_table(width: int, counts: torch.Tensor, options: argparse.Namespace) -> None:
    """The padded door, with more and more padding round the same objects."""
    steps = {}
    for slots in (16, 64):
        events = draw_events(counts, 1024, options.device, slots)
        steps[f"{slots} slots"] = training(
            ours(width, pair_bias=False, door="padded"), events, torch.float32
        )
    times = medians(steps, options.device, 3 * options.rounds)
    few, many = times.values()
    print(
        f"\nPadding, width {width}, the same objects in 16 and in 64 slots: {few * 1e3:.1f} and "
        f"{many * 1e3:.1f} ms, {many / few - 1:+.1%}",
        flush=True,
    )


def batch_table(width: int, counts: torch.Tensor, options: argparse.Namespace) -> None:
    """Cost per event against the batch size."""
    print(f"\nTraining step by batch size, width {width}, fp32\n\n| batch | µs/event |\n|---|---|")
    costs = []
    for batch in (256, 1024, 4096, 16384):
        step = training(
            ours(width, pair_bias=False), draw_events(counts, batch, options.device), torch.float32
        )
        rounds = max(5, options.rounds * 1024 // batch)
        costs.append(medians({"": step}, options.device, rounds, warm_up=3)[""] / batch)
        print(f"| {batch} | {costs[-1] * 1e6:.1f} |", flush=True)
    print(f"\nfrom the cheapest to the dearest: {max(costs) / min(costs) - 1:+.0%}")


def memory_of(name: str, width: int, counts: torch.Tensor, batch: int) -> float:
    """Bytes per event that a training step adds to the memory of a process of its own (Linux)."""
    network = (
        ours(width, pair_bias=False)
        if name == "this project"
        else particle_transformer(width, pair_bias=False, trim=False)
    )
    training(network, draw_events(counts, 64, "cpu"), torch.float32)()  # buffers of libraries
    step = training(network, draw_events(counts, batch, "cpu"), torch.float32)
    status = Path("/proc/self/status")

    def read(key: str) -> int:
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return 1024 * int(lines[key].split()[0])

    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    before = read("VmRSS")
    step()
    return (read("VmHWM") - before) / batch


def memory_table(width: int, counts: torch.Tensor, batch: int = 4096) -> None:
    """Memory of a training step, per event."""
    found = {}
    for name in ("this project", "ParT, all objects"):
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            found[name] = pool.submit(memory_of, name, width, counts, batch).result()
    print(f"\nMemory of a training step, width {width}, fp32, batch {batch}\n")
    print("| | kB/event |\n|---|---|")
    for name, value in found.items():
        print(f"| {name} | {value / 1e3:.1f} |")
    one, other = found.values()
    print(f"\nthis project takes {one / other:.2f} of ParT's", flush=True)


def epoch_table(width: int, store: Path) -> None:
    """A whole epoch from the store, against the steps alone on batches that are in memory."""
    source = StoreRows(Store(store))
    rows = np.arange(len(source))
    tenth = len(rows) // 10
    training_events, other = (
        make_sample(source, part, [1, 0, 0, 0], balance="none")
        for part in (rows[tenth:], rows[:tenth])
    )
    module = EventDataModule(training_events, other, batch_size=512, seed=1, momenta=False)
    manifest = Store(store).manifest

    model = AnalysisObjectTransformer(
        {name: len(features) for name, features in manifest.objects.items()}, len(manifest.event),
        width, width, width,
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def train(batches: Iterator[Batch]) -> float:
        started = time.perf_counter()
        for batch in batches:
            logits = model.forward_packed(batch.events)[:, 0]
            loss = F.binary_cross_entropy_with_logits(logits, batch.target.float(), batch.weight)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return time.perf_counter() - started

    loader = module.train_dataloader()
    in_memory = list(loader)
    train(iter(in_memory))
    ratios = [train(iter(loader)) / train(iter(in_memory)) for _ in range(5)]
    print(
        f"\nEpoch of {len(training_events):,} events from the store, width {width}, batch 512: "
        f"{statistics.median(ratios):.3f} of its steps alone ({min(ratios):.3f} to "
        f"{max(ratios):.3f})",
        flush=True,
    )


def machine(device: str) -> str:
    """What the figures were measured on."""
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = {line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}
    return (
        f"{', '.join(names) or platform.processor()}, {torch.get_num_threads()} threads, "
        f"{torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 64, 256])
    parser.add_argument("--batch", type=int, nargs="+", default=[1024])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="without ParT")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)  # the peers'
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    reuse_freed_memory()  # as in training; the peers gain as well
    store = simulated_sample(options.folder)
    counts = multiplicities(store)
    print(
        f"{machine(options.device)}\nmultiplicities of {len(counts):,} simulated events: mean "
        f"{counts.double().mean():.2f}, largest {int(counts.max())}"
    )
    for width in options.widths:
        for batch in options.batch:
            width_tables(width, counts, batch, options)
    if options.device == "cpu" and 128 in options.widths:
        padding_table(128, counts, options)
        batch_table(128, counts, options)
        with contextlib.suppress(FileNotFoundError):  # /proc is Linux's
            if options.peers:
                memory_table(128, counts)
        epoch_table(128, store)


if __name__ == "__main__":
    main()
