"""Parity and rotation of expressions: random ones evaluated before and after, and known answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particle_transformer.errors import AOTError
from particle_transformer.expressions import Value, parse
from particle_transformer.expressions.evaluate import Evaluator
from particle_transformer.expressions.nodes import Call
from particle_transformer.expressions.quantities import UNKNOWN, presumed, quantity
from particle_transformer.expressions.rotation import Keys
from particle_transformer.expressions.symmetry import (
    INVARIANT,
    TRANSFORMATIONS,
    Symmetry,
    symmetry,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from particle_transformer.expressions.nodes import Node

EVENTS = 40

# By name: how a random expression is drawn from its parts. Upper-case letters stand for drawn
# parts: S, P any; E, F pseudorapidities; A, B angles; X, Y one vector's components; C a condition.
SCALARS = (
    "pt",
    "mass",
    "met.pt",
    "jets.pt",
    "0",
    "1",
    "2.5",
    "-3",
    "count(jets)",
    "index(jets)",
    "pz",
    "pz(pt, eta)",
)
ETAS = ("eta", "jets.eta", "-eta", "met.eta", "0")
ANGLES = ("phi", "jets.phi", "met.phi", "-phi", "phi(px, py)", "arctan2(py, px)", "1", "0")
VECTORS = (
    ("px", "py"), ("met.px", "met.py"), ("px(pt, phi)", "py(pt, phi)"), ("cos(phi)", "sin(phi)"),
    ("px(met.pt, met.phi)", "py(met.pt, met.phi)"), ("px", "met.py"), ("py", "px"),
)  # fmt: skip
OF_VECTOR = (
    "-({})", "2 * {}", "sum({})", "mean({}, default=0)", "leading({}, 0)", "{} / pt", "pt * {}",
    "at_max({}, pt, default=0)", "where(pt > 40, {}, 0)", "mean({})", "nth({}, 2, 0)",
    "{} + {}", "{} - {}",
)  # fmt: skip
OF_PARTS = (
    "S", "E", "A", "X", "Y", "sum(S)", "mean(S)", "mean(S, default=P)", "product(S)", "min(S)",
    "max(S, default=P)", "leading(S, P)", "subleading(S, P)", "nth(S, 1, P)", "at_max(S, P, 0)",
    "at_min(S, P, 0)", "S + P", "S - P", "S * P", "S / P", "S % P", "S ** 2", "S ** 3", "S ** -1",
    "S ** -2", "S ** 0.5", "S ** 0", "-(S)", "abs(S)", "sqrt(S)", "log(S)", "log10(S)", "exp(S)",
    "sin(S)", "cos(S)", "tan(S)", "sinh(S)", "cosh(S)", "tanh(S)", "sign(S)", "arctan2(S, P)",
    "min(S, P)", "max(S, P)", "where(C, S, P)", "count(C)", "count(S)", "any(C)", "all(C)",
    "delta_phi(A, B)", "delta_phi(S, P)", "delta_r(E, A, F, B)", "delta_r(S, A, P, B)",
    "px(S, A)", "py(S, A)", "pz(S, E)", "energy(S, E, P)", "pt(X, Y)", "pt(S, P)", "phi(X, Y)",
    "phi(S, P)", "arctan2(Y, X)", "eta(X, Y, E)", "eta(S, P, E)", "mass(X, Y, E, S)",
    "transverse_mass(S, A, P, B)", "pair_mass(S, E, A, P, S, F, B, 1)",
    "invariant_mass(S, E, A, P)", "invariant_mass(S, E, A, 1, default=0)", "leading(A, B)",
    "where(C, A, B)", "A - B", "A + B", "cos(A - B)", "sin(A)", "cos(A)", "tan(A - B)", "S * Y",
    "is_finite(S)", "leading(A, 0)", "tanh(1 / (S))", "tanh((S) / sum(E))", "sum(Y) / sum(X)",
)  # fmt: skip
CONDITIONS = (
    "S > P", "S == P", "S != 0", "S < P < 2", "S > 0 and P > 0", "S > 1 or P != 0", "not S > P",
    "abs(E) < 1", "E > 0", "abs(delta_phi(A, B)) > 1",
)  # fmt: skip


@st.composite
def texts(draw: Any, pattern: str | None = None, depth: int = 2) -> str:
    """A random expression, of a given form."""

    def inner() -> str:
        plain = depth == 0 or draw(st.booleans())
        pool = draw(st.sampled_from((SCALARS, ETAS, ANGLES)))
        return draw(st.sampled_from(pool)) if plain else f"({draw(texts(depth=depth - 1))})"

    x, y = draw(st.sampled_from(VECTORS))
    for _ in range(draw(st.integers(0, 2))):
        change = draw(st.sampled_from(OF_VECTOR))
        others = draw(st.sampled_from([(x, y), *VECTORS]))
        x, y = change.format(x, others[0]), change.format(y, others[1])
    angle = st.one_of(st.sampled_from(ANGLES), st.just(f"phi({x}, {y})"))
    parts: dict[str, Callable[[], str]] = {
        "S": inner, "P": inner, "X": lambda: x, "Y": lambda: y,
        "E": lambda: draw(st.sampled_from(ETAS)), "F": lambda: draw(st.sampled_from(ETAS)),
        "A": lambda: draw(angle), "B": lambda: draw(angle),
    }  # fmt: skip

    def fill(pattern: str) -> str:
        return "".join(parts[sign]() if sign in parts else sign for sign in pattern)

    parts["C"] = lambda: fill(draw(st.sampled_from(CONDITIONS)))
    return fill(pattern or draw(st.sampled_from(OF_PARTS)))


def columns(seed: int) -> dict[str, Any]:
    """Quantities of events, of which a third has no jet."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, EVENTS) * (rng.random(EVENTS) > 0.1)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    number = int(offsets[-1])
    return {
        "offsets": offsets, "pt": rng.exponential(30, number) + 5, "eta": rng.normal(0, 2, number),
        "phi": rng.uniform(-np.pi, np.pi, number), "mass": rng.exponential(5, number),
        "px": rng.normal(0, 30, number), "py": rng.normal(0, 30, number),
        "pz": rng.normal(0, 60, number), "met.pt": rng.exponential(50, EVENTS),
        "met.phi": rng.uniform(-np.pi, np.pi, EVENTS), "met.eta": rng.normal(0, 2, EVENTS),
        "met.px": rng.normal(0, 30, EVENTS), "met.py": rng.normal(0, 30, EVENTS),
    }  # fmt: skip


def transformed(found: dict[str, Any], transformation: str, alpha: float) -> dict[str, Any]:
    after = dict(found)
    if transformation == "flip_eta":
        return after | {name: -found[name] for name in ("eta", "pz", "met.eta")}
    if transformation == "flip_phi":
        return after | {name: -found[name] for name in ("phi", "py", "met.phi", "met.py")}
    for name in ("phi", "met.phi"):
        after[name] = np.remainder(found[name] + alpha + np.pi, 2 * np.pi) - np.pi
    cos, sin = np.cos(alpha), np.sin(alpha)
    for name in ("", "met."):
        px, py = found[f"{name}px"], found[f"{name}py"]
        after[f"{name}px"], after[f"{name}py"] = px * cos - py * sin, px * sin + py * cos
    return after


def evaluate(text: str, found: dict[str, Any]) -> np.ndarray[Any, Any] | None:
    offsets = found["offsets"]

    def lookup(name: str) -> Value:
        if name == "jets":
            return Value(np.ones(offsets[-1], dtype=bool), "jets", offsets)
        if name.startswith("met."):
            return Value(found[name])
        return Value(found[name.removeprefix("jets.")], "jets", offsets)

    evaluator = _Watching(text, lookup)
    try:
        with np.errstate(all="ignore"):
            value = evaluator.evaluate(parse(text).tree)
    except AOTError:
        return None  # a condition with a fraction, a reduction of an event-level value
    return None if evaluator.delicate else np.asarray(value.values).astype(np.float64)


class _Watching(Evaluator):
    """Notes whether rounding may have decided something on the way.

    An angle is lost beside a huge number; a tiny one is what is left of two equal ones; two
    objects exactly back to back are π or −π apart, which is the same.
    """

    delicate = False

    def evaluate(self, node: Node) -> Value:
        value = super().evaluate(node)
        size = abs(value.values.astype(np.float64))
        poor = (size > 1e7) | ((size < 1e-9) & (size > 0))
        if isinstance(node, Call) and node.function in ("delta_phi", "phi", "arctan2"):
            poor |= abs(size - np.pi) < 1e-9
        self.delicate |= bool((poor & np.isfinite(size)).any())
        return value


def behaviour(text: str) -> Symmetry:
    keys = Keys()

    def lookup(name: str) -> Symmetry:
        own = name.removeprefix("jets.")
        return quantity(own, "jets", keys) or presumed(own)

    return symmetry(parse(text), lookup, keys)


def firm(text: str, found: dict[str, Any], value: Any) -> Any:
    """Where a last digit more or less of the quantities changes next to nothing."""
    rng = np.random.default_rng(0)
    sure = np.isfinite(value)
    for _ in range(3):
        near = {
            name: column * (1 + 1e-11 * rng.normal(size=column.shape))
            if name != "offsets"
            else column
            for name, column in found.items()
        }
        other = evaluate(text, near)
        if other is None:
            return np.zeros_like(sure)
        sure &= np.isclose(other, value, rtol=1e-7, atol=1e-7)
    return sure


@pytest.mark.parametrize("pattern", OF_PARTS)
@settings(deadline=None, max_examples=25)
@given(data=st.data(), seed=st.integers(0, 5), alpha=st.floats(0.1, 6.2))
def test_what_is_claimed_holds(pattern: str, data: Any, seed: int, alpha: float) -> None:
    text = data.draw(texts(pattern))
    before = columns(seed)
    value = evaluate(text, before)
    if value is None:
        return
    sure = firm(text, before, value)
    found = behaviour(text)
    for transformation in TRANSFORMATIONS:
        if not found.knows(transformation):
            continue
        after = transformed(before, transformation, alpha)
        result = evaluate(text, after)
        if result is None:
            continue  # delicate
        both = sure & firm(text, after, result)
        if transformation == "rotate_phi":
            assert_turned(value[both], result[both], found.turns, alpha)
        else:
            sign = found.sign(transformation)
            assert sign is not None
            np.testing.assert_allclose(result[both], sign * value[both], rtol=1e-6, atol=1e-6)


def assert_turned(value: Any, result: Any, turns: int | None, alpha: float) -> None:
    assert turns is not None
    if not turns:
        np.testing.assert_allclose(result, value, rtol=1e-6, atol=1e-6)
        return
    assert (abs(value) <= np.pi).all()
    apart = result - value - turns * alpha
    apart -= 2 * np.pi * np.rint(apart / (2 * np.pi))
    np.testing.assert_allclose(apart, 0, atol=1e-6)


MHT = "sum(px(jets.pt, jets.phi)), sum(py(jets.pt, jets.phi))"
KNOWN: list[tuple[str, int | None, int | None, int | None]] = [
    # text, sign under η → −η, sign under φ → −φ, what a rotation adds in units of α
    ("log(pt)", 1, 1, 0),
    ("btagDeepFlavB", 1, 1, 0),
    ("eta", -1, 1, 0),
    ("phi", 1, -1, 1),
    ("-phi", 1, -1, -1),
    ("px", 1, 1, None),
    ("py", 1, -1, None),
    ("pz", -1, 1, 0),
    ("delta_phi(phi, met.phi)", 1, -1, 0),
    ("delta_phi(0, phi)", 1, -1, -1),
    ("delta_phi(phi, 1)", 1, None, 1),
    ("phi - met.phi", 1, -1, None),
    ("cos(phi - met.phi)", 1, 1, 0),
    ("abs(eta)", 1, 1, 0),
    ("eta * leading(jets.eta, 0)", 1, 1, 0),
    ("eta ** 3", -1, 1, 0),
    ("eta + 1", None, 1, 0),
    ("exp(eta)", None, 1, 0),
    ("eta > 0", None, 1, 0),
    ("eta != 0", 1, 1, 0),
    ("max(eta, 0)", None, 1, 0),
    ("sum(jets.eta)", -1, 1, 0),
    ("product(jets.eta)", None, 1, 0),
    ("leading(jets.phi, 0)", 1, -1, None),
    ("leading(jets.phi, met.phi)", 1, -1, 1),
    ("1 / eta", -1, 1, 0),
    ("1 / sum(jets.eta)", None, 1, 0),  # 1/0 without a jet, on either side
    ("delta_r(eta, phi, leading(jets.eta, 0), met.phi)", 1, 1, 0),
    ("delta_r(eta, phi, 1, met.phi)", None, 1, 0),
    ("transverse_mass(pt, phi, met.pt, met.phi)", 1, 1, 0),
    ("energy(pt, eta, mass)", 1, 1, 0),
    ("mass(px, py, pz, E)", 1, 1, 0),
    ("eta(Px, Py, Pz)", -1, 1, 0),
    ("phi(MET_px, MET_py)", 1, -1, 1),
    ("phi(px, Py)", 1, None, None),  # of two vectors
    ("arctan2(sin_phi, cos_phi)", 1, -1, 1),
    (f"pt({MHT})", 1, 1, 0),
    (f"phi({MHT})", 1, -1, None),  # 0 without a jet, however the event is turned
    ("cos(phi + 1) * 2", 1, None, None),
    ("pt(cos(phi + 1), sin(phi + 2))", 1, None, None),
    ("pt(cos(phi + 1), sin(phi + 1))", 1, None, 0),
    ("invariant_mass(jets.pt, jets.eta, jets.phi, jets.mass)", 1, 1, 0),
]


@pytest.mark.parametrize(("text", "eta", "phi", "turns"), KNOWN, ids=[row[0] for row in KNOWN])
def test_known_behaviour(text: str, eta: int | None, phi: int | None, turns: int | None) -> None:
    found = behaviour(text)
    assert (found.sign("flip_eta"), found.sign("flip_phi"), found.turns) == (eta, phi, turns)


@pytest.mark.parametrize("name", ["Jet_eta", "jets.Eta", "PuppiMET_phi", "lead.phi", "Muon_pz"])
def test_quantities_by_the_fields_names(name: str) -> None:
    assert quantity(name, None, Keys()) is not None


@pytest.mark.parametrize("name", ["Delta_phi", "AbsJet_eta", "jet_delta_phi", "minPhi", "phi2"])
def test_other_names_with_a_direction_are_not_known(name: str) -> None:
    assert quantity(name, None, Keys()) is None
    assert presumed(name) == UNKNOWN


@pytest.mark.parametrize("name", ["dz", "Jet_dxy", "dEta", "deltaPhi", "z0", "y", "cosThetaStar"])
def test_directions_that_are_no_known_quantity(name: str) -> None:
    assert quantity(name, None, Keys()) is None
    assert presumed(name) == UNKNOWN


@pytest.mark.parametrize("name", ["area", "btagDeepFlavB", "nConstituents", "Charge", "ptRel"])
def test_numbers_without_direction(name: str) -> None:
    assert (quantity(name, None, Keys()) or presumed(name)) == INVARIANT
