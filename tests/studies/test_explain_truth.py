"""What `aot explain` finds in samples where only one thing separates, and it is known which.

All other inputs are independent of the class, of that one and of each other. With any network,
however overtrained, permuting a noise input then leaves the distribution of (logit, class) as it
was, and permuting the true one makes the logit independent of the class: the importances are 0 and
AUC − 1/2, but for the statistics of the test events, which their errors are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
import yaml

from helpers.runs import small_analysis
from particle_transformer.config import load_analysis
from particle_transformer.studies.explain import explain
from particle_transformer.training.run import train

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

EVENTS = 1500  # per class
SIGMAS = 4.0
"""Errors within which a figure is compatible with its expectation."""


@dataclass(frozen=True)
class Truth:
    """What separates, and in which of the inputs that shows."""

    where: str
    inputs: frozenset[str]
    pair_bias: bool = False


TRUTHS = [
    Truth("object feature", frozenset({"jets: tag", "all of jets"})),
    Truth("event feature", frozenset({"activity", "all event features"})),
    Truth("pair", frozenset({"jets: momenta (pairs)", "all of jets"}), pair_bias=True),
]


def sample(where: str, is_signal: bool, seed: int) -> ak.Array:
    """Two jets and up to two muons; signal has another tag, activity or angle between the jets."""
    rng = np.random.default_rng([seed, is_signal])

    def shift(name: str) -> float:
        return 1.2 * (is_signal and where == name)

    phi = rng.uniform(-np.pi, np.pi, EVENTS)
    apart = rng.normal(0, 0.3, EVENTS) if shift("pair") else rng.uniform(-np.pi, np.pi, EVENTS)
    pairs = np.column_stack([phi, phi + apart])  # in signal, too, each of the two is uniform
    counts = rng.integers(0, 3, EVENTS)
    muons = {
        "pt": rng.exponential(20, counts.sum()) + 10,
        "eta": rng.normal(0, 1, counts.sum()),
        "phi": rng.uniform(-np.pi, np.pi, counts.sum()),
        "mass": np.full(counts.sum(), 0.106),
        "isolation": rng.normal(0, 1, counts.sum()),
    }
    return ak.Array(
        {
            "Jet_pt": ak.from_regular(rng.exponential(50, (EVENTS, 2)) + 30),
            "Jet_eta": ak.from_regular(rng.normal(0, 0.5, (EVENTS, 2))),
            "Jet_phi": ak.from_regular(np.angle(np.exp(1j * pairs))),
            "Jet_mass": ak.from_regular(np.full((EVENTS, 2), 5.0)),
            "Jet_tag": ak.from_regular(rng.normal(shift("object feature"), 1, (EVENTS, 2))),
            "Jet_width": ak.from_regular(rng.normal(0, 1, (EVENTS, 2))),
            **{f"Muon_{name}": ak.unflatten(each, counts) for name, each in muons.items()},
            "activity": rng.normal(shift("event feature"), 1, EVENTS),
            "pileup": rng.normal(0, 1, EVENTS),
            "genWeight": np.where(rng.uniform(size=EVENTS) < 0.1, -1.0, 1.0),
            "event": np.arange(EVENTS) + 1_000_000 * is_signal,
        }
    )


@pytest.fixture(scope="module", params=TRUTHS, ids=lambda truth: truth.where)
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Truth, dict[str, Any]]:
    truth: Truth = request.param
    folder: Path = tmp_path_factory.mktemp("truth")
    path = small_analysis(folder, epochs=12, write=False, pair_bias=truth.pair_bias)
    content = yaml.safe_load(path.read_text())
    content["processes"] = {}
    for name, is_signal in (("signal", True), ("background", False)):
        ak.to_parquet(sample(truth.where, is_signal, 7), folder / f"{name}.parquet")
        content["processes"][name] = {
            "class": name, "cross_section": 1.0, "files": [f"{name}.parquet"]
        }  # fmt: skip
    content["objects"] = {
        "jets": {"collection": "Jet", "max": 2, "features": ["tag", "width"]},
        "muons": {"collection": "Muon", "max": 2, "features": ["isolation"]},
    }
    content["event"] = {"features": ["activity", "pileup"]}
    content["training"]["learning_rate"] = 0.01
    path.write_text(yaml.safe_dump(content))
    run = train(load_analysis(path), folder / "run")
    return truth, explain(run, repeats=5, gradient_events=1000)


def test_permutation_importance_is_that_of_the_truth(found: tuple[Truth, dict[str, Any]]) -> None:
    truth, result = found
    separation = result["auc"]["value"] - 0.5
    assert separation > 0.15
    by_name = {part["name"]: part for part in result["permutation"]}
    assert truth.inputs < set(by_name)
    for name, part in by_name.items():
        area, loss = part["auc"], part["loss"]
        if name in truth.inputs:
            assert abs(area["value"] - separation) < SIGMAS * area["error"]
            assert loss["value"] > 10 * loss["error"]
        else:
            assert abs(area["value"]) < SIGMAS * area["error"]
            assert abs(loss["value"]) < SIGMAS * loss["error"]
            assert abs(area["value"]) < separation / 10


def test_integrated_gradients_are_those_of_the_truth(found: tuple[Truth, dict[str, Any]]) -> None:
    """The mean attribution separates signal from background by the true feature alone.

    A noise feature's does not vanish exactly: where the slope of an overtrained network in the
    noise depends on the true input, it differs between the classes. That may be 1 % of the truth.
    """
    truth, result = found
    gradients = result["gradients"]
    listed = {each["name"]: each for each in gradients["features"]}
    assert len(listed) == 5
    assert gradients["completeness"]["mean"] < 0.01
    baseline = gradients["baseline"]
    true = [name for name in listed if name in truth.inputs]
    if truth.where == "pair":
        # Momenta are in the baseline, and with them all that separates.
        assert not true
        scale = baseline["signal"]["value"] - baseline["background"]["value"]
        assert abs(baseline["auc"]["value"] - result["auc"]["value"]) < 0.05
    else:
        (name,) = true
        each = listed[name]
        scale = each["signal"]["value"] - each["background"]["value"]
        assert each["size"]["value"] > 5 * max(
            other["size"]["value"] for other in listed.values() if other is not each
        )
        # √[(n + n + 1)/(12 n n)] (Mann and Whitney) of an AUC of 1/2 with n events per class.
        error = 1 / np.sqrt(6 * baseline["auc"]["effective_events"])
        assert abs(baseline["auc"]["value"] - 0.5) < SIGMAS * error
    assert scale > 0.8
    for name in set(listed) - set(true):
        signal, background = (listed[name][kind] for kind in ("signal", "background"))
        error = np.hypot(signal["error"], background["error"])
        assert abs(signal["value"] - background["value"]) < SIGMAS * error + 0.01 * scale
