"""Evaluation: numbers by hand, dtypes, errors, and a brute-force evaluation per event."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st

from particle_transformer.errors import ExpressionError, InputFileError
from particle_transformer.expressions import Value, evaluate_events, evaluate_objects, parse

if TYPE_CHECKING:
    from collections.abc import Callable

vector = pytest.importorskip("vector")

PAGE = Path(__file__).parents[2] / "docs" / "analysis-file.md"

OFFSETS = np.array([0, 2, 2, 5])
PT = np.array([50, 40, 100, 30, 20], np.float32)
LEPTON_OFFSETS = np.array([0, 0, 1, 1])

COLUMNS = {
    "jets": Value(np.zeros(5), "jets", OFFSETS),
    "jets.pt": Value(PT, "jets", OFFSETS),
    "jets.phi": Value(np.array([0.0, 3.0, -3.0, 1.0, 2.0], np.float32), "jets", OFFSETS),
    "jets.tagged": Value(np.array([True, False, False, True, True]), "jets", OFFSETS),
    "jets.n": Value(np.array([200, 100, 250, 3, 4], np.uint8), "jets", OFFSETS),
    "leptons.pt": Value(np.array([25], np.float32), "leptons", LEPTON_OFFSETS),
    "leptons": Value(np.zeros(1), "leptons", LEPTON_OFFSETS),
    "phi_of_jets": Value(np.zeros(5), "jets", OFFSETS),
    "met": Value(np.array([100, 200, 300], np.float32)),
    "n": Value(np.array([1, 2, 3], np.uint8)),
    "flag": Value(np.array([True, False, True])),
    "x64": Value(np.array([1.0, 2.0, 3.0])),
    "huge": Value(np.array([1, 2, 2**63 + 5], np.uint64)),
    "label": Value(np.array(["a", "b", "c"])),
    "short": Value(np.zeros(2)),
    "pi": Value(np.asarray(math.pi)),
}


def lookup(name: str) -> Value:
    if name not in COLUMNS:
        message = f"unknown name {name}"
        raise ExpressionError(message)
    return COLUMNS[name]


def events(text: str, **options: bool) -> np.ndarray:
    return evaluate_events(parse(text), lookup, 3, **options)


def objects(text: str, **options: bool) -> np.ndarray:
    return evaluate_objects(parse(text), lookup, "jets", OFFSETS, **options)


NAN = math.nan


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum(jets.pt)", [90, 0, 150]),
        ("sum(jets.tagged)", [1, 0, 2]),
        ("sum(jets.n)", [300, 0, 257]),
        ("count(jets)", [2, 0, 3]),
        ("count(jets.pt)", [2, 0, 3]),
        ("count(jets.tagged)", [1, 0, 2]),
        ("count(jets.pt > 35)", [2, 0, 1]),
        ("count(leptons) + count(jets)", [2, 1, 3]),
        ("any(jets.pt > 60)", [False, False, True]),
        ("all(jets.pt > 35)", [True, True, False]),
        ("min(jets.pt)", [40, NAN, 20]),
        ("max(jets.pt, default=-1)", [50, -1, 100]),
        ("max(jets.pt, default=met)", [50, 200, 100]),
        ("max(jets.n, default=0)", [200, 0, 250]),
        ("mean(jets.pt)", [45, NAN, 50]),
        ("mean(jets.tagged, default=0)", [0.5, 0, 2 / 3]),
        ("leading(jets.pt, 0)", [50, 0, 100]),
        ("subleading(jets.pt, default=-5)", [40, -5, 30]),
        ("subleading(leptons.pt, 0)", [0, 0, 0]),
        ("leading(jets.tagged, False)", [True, False, False]),
        ("sum(jets.pt * (jets.phi > 0)) / met", [0.4, 0, 50 / 300]),
        ("max(met, 150)", [150, 200, 300]),
        ("min(met, 150, n)", [1, 2, 3]),
        ("where(flag, met, -met)", [100, -200, 300]),
        ("100 <= met < 300", [True, True, False]),
        ("not flag or met > 250", [False, True, True]),
        ("n - 3", [-2, -1, 0]),
        ("-n", [-1, -2, -3]),
        ("n * 200", [200, 400, 600]),
        ("n / 2", [0.5, 1, 1.5]),
        ("n ** -1", [1, 1 / 2, 1 / 3]),
        ("abs(n - 2)", [1, 0, 1]),
        ("flag + flag", [2, 0, 2]),
        ("-flag", [-1, 0, -1]),
        ("n and flag", [True, False, True]),
        ("delta_phi(pi * n, 0)", [math.pi, 0, math.pi]),
        ("1 / (n - 2)", [-1, math.inf, 1]),
        ("2 * 3", [6, 6, 6]),
        ("True", [True, True, True]),
        ("where(flag, n, 300)", [1, 300, 3]),
        ("where(flag, -1, n)", [-1, 2, -1]),
        ("where(met > 150, flag, not flag)", [False, False, True]),
        ("product(jets.pt)", [2000, 1, 60000]),
        ("product(jets.n)", [20000, 1, 3000]),
        ("product(jets.tagged)", [0, 1, 0]),
        ("nth(jets.pt, 0, default=-1)", [50, -1, 100]),
        ("nth(jets.pt, 2, met)", [100, 200, 20]),
        ("nth(jets.pt, 3, 0)", [0, 0, 0]),
        ("at_max(jets.phi, jets.pt, default=9)", [0, 9, -3]),
        ("at_min(jets.phi, jets.pt, 9)", [3, 9, 2]),
        ("at_max(jets.pt, jets.tagged, 0)", [50, 0, 30]),
        ("at_min(jets.pt, jets.tagged, 0)", [40, 0, 100]),
        ("at_max(jets.n, jets.n % 50, 0)", [200, 0, 4]),
        ("at_max(jets.pt, jets.phi > 9, met)", [50, 200, 100]),
        ("sum(index(jets))", [1, 0, 3]),
        ("sum(where(index(jets.pt) < 2, jets.pt, 0))", [90, 0, 130]),
        ("min(abs(delta_phi(jets.phi, met / 100)), default=3.2)", [1, 3.2, 2 * math.pi - 6]),
        ("invariant_mass(leptons.pt, 1.5, 0, 4, default=-1)", [-1, 4, -1]),
        ("invariant_mass(jets.pt, 0, pi * index(jets), 0)", [2 * 2000**0.5, NAN, 14400**0.5]),
        ("pair_mass(met, 0, 0, 0, met, 0, pi, 0)", [200, 400, 600]),
        ("sign(n - 2)", [-1, 0, 1]),
        ("sign(-flag)", [-1, 0, -1]),
        ("is_finite(1 / (n - 2))", [True, False, True]),
        ("is_finite(max(jets.pt))", [True, False, True]),
        ("is_finite(n)", [True] * 3),
        ("bit(n, 0)", [True, False, True]),
        ("bit(n, 1)", [False, True, True]),
        ("bit(-n, 63)", [True, True, True]),
        ("count(bit(jets.n, 7))", [1, 0, 1]),
        ("bit(6, 2)", [True] * 3),
        ("n % 2", [1, 0, 1]),
        ("-n % 3", [2, 1, 0]),
        ("n % -3", [-2, -1, 0]),
        ("met % 70", [30, 60, 20]),
        ("-met % 70.0", [40, 10, 50]),
        ("met % (n - n)", [NAN] * 3),
        ("n % 0.0", [NAN] * 3),
        ("transverse_mass(met, 0, met, pi)", [200, 400, 600]),
        ("mass(3 * n, 0, 0, 5 * n)", [4, 8, 12]),
        ("eta(0, 0, n - n)", [0, 0, 0]),
    ],
)
def test_per_event_by_hand(text: str, expected: Any) -> None:
    result = events(text)
    assert result.shape == (3,)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jets.pt / met", [0.5, 0.4, 1 / 3, 0.1, 2 / 30]),
        ("met", [100, 100, 300, 300, 300]),
        ("7", [7] * 5),
        ("jets.pt / leading(jets.pt, 1)", [1, 0.8, 1, 0.3, 0.2]),
        ("35 < jets.pt < met - 50", [False, True, True, False, False]),
        ("where(jets.tagged, jets.pt, 0)", [50, 0, 0, 30, 20]),
        ("delta_phi(jets.phi, 3)", [-3, 0, 2 * math.pi - 6, -2, -1]),
        ("jets.n - 201", [-1, -101, 49, -198, -197]),
        ("jets.n > 256", [False] * 5),
        ("index(jets)", [0, 1, 0, 1, 2]),
        ("index(phi_of_jets)", [0, 1, 0, 1, 2]),
        ("jets.pt == at_max(jets.pt, jets.phi, 0)", [False, True, False, False, True]),
        ("bit(jets.n, 3)", [True, False, True, False, False]),
        ("pair_mass(jets.pt, 0, 0, 0, met, 0, pi, 0) ** 2", [2e4, 1.6e4, 1.2e5, 3.6e4, 2.4e4]),
    ],
)
def test_per_object_by_hand(text: str, expected: Any) -> None:
    result = objects(text)
    assert result.shape == (5,)
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("jets.pt * 2.5 + 1", np.float32),
        ("log(max(jets.pt, 0.1))", np.float32),
        ("jets.pt ** 2", np.float32),
        ("jets.pt * log(10) * pi", np.float32),
        ("where(jets.pt > 3, jets.pt, 0.0)", np.float32),
        ("px(jets.pt, 0.5)", np.float32),
        ("energy(jets.pt, 1.5, 0.1)", np.float32),
        ("delta_r(jets.phi, 0.5, 0.2, 0.7)", np.float32),
        ("sum(jets.pt)", np.float32),
        ("mean(jets.pt, default=0)", np.float32),
        ("max(jets.pt)", np.float32),
        ("leading(jets.pt, -1)", np.float32),
        ("jets.pt * jets.tagged", np.float32),
        ("met * x64", np.float64),
        ("log(n)", np.float64),
        ("sqrt(flag)", np.float64),
        ("n + 1", np.int64),
        ("n / 1", np.float64),
        ("max(jets.n)", np.float64),
        ("max(jets.n, default=300)", np.int64),
        ("sum(jets.n)", np.int64),
        ("met > 3", np.bool_),
        ("met % 2", np.float32),
        ("n % 2", np.int64),
        ("n % 2.0", np.float64),
        ("product(jets.pt)", np.float32),
        ("product(jets.n)", np.int64),
        ("nth(jets.pt, 5, 0)", np.float32),
        ("at_max(jets.pt, jets.n, -1)", np.float32),
        ("at_max(jets.n, jets.pt, 0)", np.int64),
        ("invariant_mass(jets.pt, 0, jets.phi, 0, default=0)", np.float32),
        ("invariant_mass(jets.n, 0, jets.n, 0, default=0)", np.float64),
        ("pair_mass(jets.pt, 0, jets.phi, 0, met, 0, 1, 0)", np.float32),
        ("index(jets)", np.int64),
        ("sign(n)", np.int64),
        ("sign(met)", np.float32),
        ("is_finite(n)", np.bool_),
        ("bit(n, 0)", np.bool_),
        ("where(flag, n, 1)", np.int64),
        ("where(flag, flag, True)", np.bool_),
        ("leading(jets.tagged, True)", np.bool_),
    ],
)
def test_dtypes(text: str, dtype: Any) -> None:
    assert parse(text).evaluate(lookup).values.dtype == dtype


def test_constants_compare_in_the_precision_of_the_column() -> None:
    column = {"x": Value(np.array([0.1], np.float32))}
    assert evaluate_events(parse("x == 0.1"), column.__getitem__, 1)[0]


@pytest.mark.parametrize("text", ["1 / 0", "((10 ** 16) ** 16) ** 16", "log(0) * -1", "exp(1e5)"])
def test_constants_overflow_to_infinity_silently(text: str) -> None:
    assert events(text)[0] == math.inf


def test_logarithm_of_a_negative_number_is_nan_silently() -> None:
    assert np.isnan(events("log(-met)")).all()


def test_float32_sums_are_rounded_once() -> None:
    values = np.full(100_000, 0.1, np.float32)
    column = {"x": Value(values, "jets", np.array([0, len(values)]))}
    total = evaluate_events(parse("sum(x)"), column.__getitem__, 1)
    assert total[0] == np.float32(values.astype(np.float64).sum())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jets.pt + leptons.pt", "column 1: objects of jets and leptons cannot be combined"),
        ("jets > 3", r"column 1: jets is a collection; write count\(jets\)"),
        ("sum(jets)", r"column 5: jets is a collection"),
        ("1 + sum(met)", r"column 5: sum\(x\) works on the objects of each event"),
        ("max(met)", "of two or more arguments it is elementwise"),
        ("count(n)", r"count\(x\) works on the objects"),
        ("met and flag", "column 1: a condition is expected here"),
        ("not met", "column 5: a condition is expected here"),
        ("where(met, 1, 2)", "column 7: a condition is expected"),
        ("any(jets.pt)", "column 5: a condition is expected"),
        ("max(jets.pt, default=jets.phi)", "column 22: the default must be one value per event"),
        ("met > 1 and abs(met < 2)", r"column 13: abs of a comparison; write abs\(x\) < 2"),
        ("label == 3", "column 1: label is of type <U1; expected numbers or booleans"),
        ("met + short", r"columns of different numbers of events: \[2, 3\]"),
        ("sum(jets.pt) + short", "columns of different numbers of events"),
        ("leading(jets.pt, short)", "columns of different numbers of events"),
        ("short", "it gives 2 values for 3 events"),
        ("jets.pt > 30", r"column 1: one value per event is needed.*jets; use sum\(\.\.\.\), max"),
        ("at_max(met, jets.pt, 0)", r"at_max\(x, key\) works on the objects.*but x is one value"),
        ("at_max(jets.pt, met, 0)", r"works on the objects of each event, but key is one value"),
        ("at_min(jets.pt, leptons.pt, 0)", "objects of jets and leptons cannot be combined"),
        ("at_min(jets, jets.pt, 0)", "column 8: jets is a collection"),
        ("at_max(jets.pt, jets.pt, jets.phi)", "column 26: the default must be one value"),
        ("nth(met, 0, 0)", r"nth\(x, n\) works on the objects of each event, but x is one value$"),
        ("nth(jets.pt, 0, short)", "columns of different numbers of events"),
        ("index(met)", r"index\(x\) works on the objects of each event"),
        ("index(jets) > 2", "column 1: one value per event is needed"),
        ("product(met)", r"product\(x\) works on the objects of each event"),
        ("invariant_mass(met, 0, 0, 0)", r"invariant_mass\(pt, eta, phi, mass\) works on the obj"),
        ("invariant_mass(jets.pt, 0, leptons.pt, 0)", "objects of jets and leptons cannot"),
        ("invariant_mass(jets.pt, short, 0, 0)", "columns of different numbers of events"),
        ("pair_mass(jets.pt,0,0,0, leptons.pt,0,0,0)", "objects of jets and leptons cannot"),
        ("bit(met, 1)", r"column 5: bit\(x, n\) needs an integer x, but it is of type float32"),
        ("bit(flag, 0)", "column 5: .* of type bool"),
        ("bit(n, 8)", "column 8: bit 8 of an integer of type uint8, which has the bits 0 to 7"),
        ("1 + n % (n - 2)", r"column 5: an integer % 0 .* 1 of 3 values; write max\(divisor, 1\)"),
        ("5 % 0", "the divisor is 0 in 1 of 1 values"),
        ("n % False", "an integer % 0"),
        ("huge - 1", "column 1: the value 9223372036854775813 is too large for int64"),
        ("huge % 2", "column 1: the value 9223372036854775813 is too large for int64"),
        ("1 + nothing", r"unknown name nothing \(in expression '1 \+ nothing'\)"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        events(text)


def test_objects_of_another_collection_where_jets_are_needed() -> None:
    with pytest.raises(ExpressionError, match=r"per object of jets is needed.*of leptons"):
        objects("leptons.pt > 3")


def test_bits_of_unsigned_and_negative_integers() -> None:
    columns = {
        "mask": Value(np.array([1, 2**63], np.uint64)),
        "signed": Value(np.array([-1, 2**30], np.int32)),
    }
    for text, expected in (
        ("bit(mask, 63)", [False, True]),
        ("bit(signed, 31)", [True, False]),
        ("bit(signed, 30)", [True, True]),
    ):
        assert evaluate_events(parse(text), columns.__getitem__, 2).tolist() == expected


def test_key_nan_is_chosen_only_where_all_are_nan() -> None:
    key = np.array([NAN, -np.inf, NAN, NAN, 2.0, 2.0])
    offsets = np.array([0, 2, 4, 4, 6])
    columns = {
        "key": Value(key, "jets", offsets),
        "x": Value(np.arange(6), "jets", offsets),
    }
    for name in ("at_max", "at_min"):
        chosen = evaluate_events(parse(f"{name}(x, key, -1)"), columns.__getitem__, 4)
        assert chosen.tolist() == [1, 2, -1, 4]


def test_recipes_of_the_documentation() -> None:
    rng = np.random.default_rng(5)
    offsets = np.array([0, 6, 6, 7, 11])
    flat = {name: rng.uniform(low, high, 11) for name, low, high in (
        ("pt", 20, 200), ("eta", -3, 3), ("phi", -3.1, 3.1), ("mass", 0, 20),
    )}  # fmt: skip
    columns = {f"jets.{name}": Value(values, "jets", offsets) for name, values in flat.items()}
    columns["jets"] = Value(np.zeros(11), "jets", offsets)
    met_phi = rng.uniform(-3.1, 3.1, 4)
    columns["met.phi"] = Value(met_phi)
    px, py = flat["pt"] * np.cos(flat["phi"]), flat["pt"] * np.sin(flat["phi"])
    slices = [slice(a, b) for a, b in itertools.pairwise(offsets)]

    def is_as_documented(text: str, expected: list[float]) -> None:
        assert f"`{text}`" in PAGE.read_text(encoding="utf-8")
        result = evaluate_events(parse(text), columns.__getitem__, 4)
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9)

    is_as_documented(
        "min(where(index(jets) < 4, abs(delta_phi(jets.phi, met.phi)), 3.2), default=3.2)",
        [
            min((math.acos(math.cos(phi - own)) for phi in flat["phi"][s][:4]), default=3.2)
            for s, own in zip(slices, met_phi, strict=True)
        ],
    )
    is_as_documented(
        "pt(sum(px(jets.pt, jets.phi)), sum(py(jets.pt, jets.phi)))",
        [math.hypot(px[s].sum(), py[s].sum()) for s in slices],
    )
    is_as_documented(
        "phi(-sum(px(jets.pt, jets.phi)), -sum(py(jets.pt, jets.phi)))",
        [math.atan2(-py[s].sum(), -px[s].sum()) if px[s].size else 0.0 for s in slices],
    )
    pairs = [
        vector.array({name: values[s][:2] for name, values in flat.items()}).sum() for s in slices
    ]
    is_as_documented(
        "invariant_mass(where(index(jets) < 2, jets.pt, 0), jets.eta, jets.phi, "
        "where(index(jets) < 2, jets.mass, 0))",
        [NAN if s.start == s.stop else pair.mass for pair, s in zip(pairs, slices, strict=True)],
    )


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
def test_invariant_mass_agrees_with_vector(counts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    offsets = np.cumsum([0, *counts])
    flat = {
        "pt": rng.exponential(80, offsets[-1]) + 1,
        "eta": rng.uniform(-3, 3, offsets[-1]),
        "phi": rng.uniform(-np.pi, np.pi, offsets[-1]),
        "mass": rng.exponential(10, offsets[-1]) + 1,
    }
    columns = {name: Value(values, "jets", offsets) for name, values in flat.items()}
    text = "invariant_mass(pt, eta, phi, mass, default=-1)"
    result = evaluate_events(parse(text), columns.__getitem__, len(counts))
    for mass, start, stop in zip(result, offsets, offsets[1:], strict=False):
        momenta = {name: values[start:stop] for name, values in flat.items()}
        expected = vector.array(momenta).sum().mass if stop > start else -1
        assert mass == pytest.approx(expected, rel=1e-6)


def test_condition_wanted() -> None:
    assert events("n", condition=True).dtype == np.bool_
    assert objects("jets.pt > 45", condition=True).tolist() == [True, False, True, False, False]
    assert events("True", condition=True).tolist() == [True] * 3
    with pytest.raises(ExpressionError, match="a condition is expected"):
        events("met", condition=True)
    with pytest.raises(ExpressionError, match="a condition is expected"):
        objects("jets.pt", condition=True)


def test_lookup_errors_keep_their_class_and_are_not_repeated() -> None:
    def missing(name: str) -> Value:
        message = f"no branch {name}"
        raise InputFileError(message)

    with pytest.raises(InputFileError, match=re.escape("no branch a (in expression 'a + 1')")):
        parse("a + 1").evaluate(missing)

    with pytest.raises(InputFileError, match=re.escape("no branch a (in expression 'a + 1')")):
        parse("a\n + 1\n").evaluate(missing)  # as YAML's block scalars give it

    def told(name: str) -> Value:
        message = "expression 'a + 1': told already"
        raise ExpressionError(message)

    with pytest.raises(ExpressionError, match=r"told already$"):
        parse("a + 1").evaluate(told)


def test_value_checks_its_shape() -> None:
    with pytest.raises(ValueError, match="5 objects"):
        Value(np.zeros(4), "jets", OFFSETS)
    with pytest.raises(ValueError, match="collection and offsets"):
        Value(np.zeros(4), "jets")


def test_no_event_at_all() -> None:
    nothing = {
        "jets.pt": Value(np.zeros(0, np.float32), "jets", np.zeros(1, np.int64)),
        "met": Value(np.zeros(0, np.float32)),
    }
    for text in (
        "sum(jets.pt)",
        "max(jets.pt)",
        "leading(jets.pt, 0)",
        "met",
        "3",
        "any(jets.pt > 3)",
    ):
        assert evaluate_events(parse(text), nothing.__getitem__, 0).shape == (0,)
    result = evaluate_objects(parse("jets.pt / met"), nothing.__getitem__, "jets", np.zeros(1, int))
    assert result.shape == (0,)


# A brute-force reference: Python's own eval, one event and one object at a time.

NUMBER = st.sampled_from(["jets.pt", "jets.eta", "met", "2", "0.5", "-1.5", "n"])


def _grow(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    condition = st.builds(
        lambda a, op, b, op2, c: f"({a} {op} {b} {op2} {c})",
        children, st.sampled_from(["<", ">=", "=="]), children, st.sampled_from([">", "!="]), children,
    )  # fmt: skip
    either = st.builds(
        lambda a, op, b: f"({a} {op} not {b})", condition, st.sampled_from(["and", "or"]), condition
    )
    return st.one_of(
        st.builds(lambda a, op, b: f"({a} {op} {b})", children, st.sampled_from("+-*/"), children),
        st.builds(lambda a: f"(-{a})", children),
        st.builds(lambda a, power: f"({a} ** {power})", children, st.sampled_from([2, -1, 3])),
        st.builds(lambda f, a: f"{f}({a})", st.sampled_from(["abs", "sin", "exp"]), children),
        st.builds(
            lambda f, a, b: f"{f}({a}, {b})",
            st.sampled_from(["min", "max", "delta_phi", "px"]), children, children,
        ),
        st.builds(lambda c, a, b: f"where({c}, {a}, {b})", st.one_of(condition, either), children, children),
    )  # fmt: skip


NUMBERS = st.recursive(NUMBER, _grow, max_leaves=6)


def _delta_phi(a: Any, b: Any) -> np.float64:  # a float of Python would refuse 0.0 ** -1
    if math.isfinite(a - b) and abs(a - b) > 1e4:
        reject()  # of a larger angle float64 keeps fewer digits than are compared here
    wrapped = math.remainder(a - b, 2 * math.pi) if math.isfinite(a - b) else NAN
    return np.float64(math.pi if wrapped <= -math.pi else wrapped)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs, "sin": np.sin, "exp": np.exp, "min": np.minimum, "max": np.maximum,
    "where": lambda c, a, b: a if c else b,
    "delta_phi": _delta_phi,
    "px": lambda pt, phi: pt * np.cos(phi),
}  # fmt: skip

REDUCE: dict[str, Callable[[list[float]], float]] = {
    "sum": lambda x: math.fsum(x) if all(map(math.isfinite, x)) else float(np.sum(x)),
    "count": len,
    "min": lambda x: float(np.min(x)) if x else NAN,
    "max": lambda x: float(np.max(x)) if x else NAN,
    "mean": lambda x: math.fsum(x) / len(x) if x and all(map(math.isfinite, x)) else float(np.mean(x)) if x else NAN,
    "leading": lambda x: x[0] if x else -7.0,
    "subleading": lambda x: x[1] if len(x) > 1 else -7.0,
}  # fmt: skip

FINITE = st.floats(-50, 50).map(lambda x: round(x, 2))
EVENTS = st.lists(
    st.tuples(st.lists(st.tuples(FINITE, FINITE), max_size=4), FINITE, st.integers(0, 9)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@example([([(0.0, 0.0)], 0.0, 0)], "(delta_phi(jets.pt, jets.pt) ** -1)", "count")
@example([([(0.0, 0.0)], 0.0, 0)], "(delta_phi(jets.pt, jets.pt) ** -1)", "sum")
@given(EVENTS, NUMBERS, st.sampled_from(sorted(REDUCE)))
def test_agrees_with_evaluation_object_by_object(sample: Any, inner: str, reduction: str) -> None:
    inner = f"({inner} + 0 * jets.pt)"  # object-level, whatever was drawn
    offsets = np.cumsum([0, *(len(jets) for jets, _, _ in sample)])
    flat = [jet for jets, _, _ in sample for jet in jets]
    columns = {
        "jets.pt": Value(np.array([pt for pt, _ in flat]), "jets", offsets),
        "jets.eta": Value(np.array([eta for _, eta in flat]), "jets", offsets),
        "met": Value(np.array([met for _, met, _ in sample])),
        "n": Value(np.array([n for _, _, n in sample])),
    }

    def one(jet: tuple[float, float], met: float, n: int) -> float:
        pt, eta = map(np.float64, jet)
        names = {
            "jets": SimpleNamespace(pt=pt, eta=eta),
            "met": np.float64(met),
            "n": np.float64(n),
        }
        literals = re.sub(r"(?<![\w.])(\d+(\.\d+)?)", r"f(\1)", inner)
        literals = re.sub(r"\*\* (-?)f\((\d)\)", r"** \1\2", literals)
        return float(eval(literals, {"f": np.float64, **FUNCTIONS}, names))

    with np.errstate(all="ignore"):
        expected = [[one(jet, met, n) for jet in jets] for jets, met, n in sample]
        reduced = [REDUCE[reduction](values) for values in expected]
    result = evaluate_objects(parse(inner), columns.__getitem__, "jets", offsets)
    np.testing.assert_allclose(
        result, [x for values in expected for x in values], rtol=1e-9, atol=1e-9
    )
    default = ", -7" if reduction.endswith("leading") else ""
    per_event = evaluate_events(
        parse(f"{reduction}({inner}{default})"), columns.__getitem__, len(sample)
    )
    finite = [abs(x) for values in expected for x in values if math.isfinite(x)]
    tolerance = 1e-9 * max([1.0, *finite])  # sums cancel
    np.testing.assert_allclose(per_event, reduced, rtol=1e-9, atol=tolerance)
