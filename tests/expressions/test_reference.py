"""Random expressions against an interpreter in plain Python: one event, one object at a time.

Each drawn expression is a text for the package and a closure for the reference, built side by
side; the two share no code. Every operation drawn here is exact in IEEE arithmetic, or rounded in
the same way by both, so that results must be equal bit for bit.
"""

from __future__ import annotations

import itertools
import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from particle_transformer.errors import ExpressionError
from particle_transformer.expressions import Value, evaluate_events, evaluate_objects, parse

if TYPE_CHECKING:
    from collections.abc import Callable

NAN = math.nan


@dataclass(frozen=True)
class Jet:
    pt: float
    n: int
    tagged: bool


@dataclass(frozen=True)
class Event:
    jets: list[Jet]
    met: float
    k: int
    flag: bool


@dataclass(frozen=True)
class Case:
    """`run(event, i)` gives the value for object i; event-level cases do not look at i."""

    text: str
    kind: str  # of the result: "b" boolean, "i" integer, "f" floating
    ragged: bool
    run: Callable[[Event, int], Any]
    parts: tuple[Case, ...] = ()

    def over(self, events: list[Event]) -> list[Any]:
        """Every value; the parts too, because an event without jets has its event-level parts."""
        for part in self.parts:
            part.over(events)
        if self.ragged:
            return [self.run(event, i) for event in events for i in range(len(event.jets))]
        return [self.run(event, -1) for event in events]


def cast(value: Any, kind: str) -> Any:
    """What the type of a column makes of a number; events of one column share their type."""
    value = {"b": bool, "i": int, "f": float}[kind](value)
    if kind == "i" and abs(value) >= 2**53:
        reject()  # beyond it a quotient in float64 is rounded twice
    return value


def wider(*kinds: str, least: str = "b") -> str:
    return max(*kinds, least, key="bif".index)


def divide(a: float, b: float) -> float:
    a, b = float(a), float(b)
    if b == 0:
        return NAN if a == 0 or math.isnan(a) else math.copysign(math.inf, a * math.copysign(1, b))
    return a / b


def remainder(a: Any, b: Any) -> Any:
    if isinstance(b, float) and b == 0:
        return NAN
    return a % b  # ZeroDivisionError for integers


def extreme(pick: Callable[..., Any], values: list[Any]) -> Any:
    if any(map(math.isnan, values)):
        return NAN
    if 0 in values and len({math.copysign(1, value) for value in values if value == 0}) > 1:
        reject()  # IEEE leaves open which of 0 and −0 is smaller
    return pick(values)


def binary(a: Case, symbol: str, b: Case) -> Case:
    functions = {
        "+": operator.add, "-": operator.sub, "*": operator.mul, "/": divide, "%": remainder,
        "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
        "and": lambda x, y: bool(x) and bool(y), "or": lambda x, y: bool(x) or bool(y),
    }  # fmt: skip
    inner = wider(a.kind, b.kind, least="i")
    kind = "f" if symbol == "/" else inner if symbol in "+-*%" else "b"

    def run(event: Event, i: int) -> Any:
        x, y = (cast(case.run(event, i), inner) for case in (a, b))
        return cast(functions[symbol](x, y), kind)

    return Case(f"({a.text} {symbol} {b.text})", kind, a.ragged or b.ragged, run, (a, b))


def unary(name: str, a: Case) -> Case:
    functions: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "-": (wider(a.kind, least="i"), operator.neg),
        "not ": ("b", operator.not_),
        "abs": (wider(a.kind, least="i"), abs),
        "sign": (wider(a.kind, least="i"), lambda x: x if math.isnan(x) else (x > 0) - (x < 0)),
        "is_finite": ("b", math.isfinite),
        "sqrt": ("f", lambda x: math.sqrt(x) if x >= 0 else NAN),
    }
    kind, function = functions[name]
    if name == "abs" and a.kind == "b" and a.text.startswith("("):
        # abs(x < 2) is refused: there a parenthesis is in the wrong place.
        a = Case(f"({a.text} or False)", "b", a.ragged, a.run, (a,))
    widened = wider(a.kind, least="i")
    return Case(
        f"({name}{a.text})" if name in ("-", "not ") else f"{name}({a.text})",
        kind,
        a.ragged,
        lambda event, i: cast(function(cast(a.run(event, i), widened)), kind),
        (a,),
    )


def bit(a: Case, n: int) -> Case:
    text = f"bit({a.text}, {n})"
    return Case(text, "b", a.ragged, lambda event, i: bool(a.run(event, i) // 2**n % 2), (a,))


def where(c: Case, a: Case, b: Case) -> Case:
    kind = wider(a.kind, b.kind)

    def run(event: Event, i: int) -> Any:
        chosen, x, y = c.run(event, i), a.run(event, i), b.run(event, i)
        return cast(x if chosen else y, kind)

    ragged = a.ragged or b.ragged or c.ragged
    return Case(f"where({c.text}, {a.text}, {b.text})", kind, ragged, run, (c, a, b))


def of_several(name: str, a: Case, b: Case) -> Case:
    kind = wider(a.kind, b.kind, least="i")
    pick = min if name == "min" else max

    def run(event: Event, i: int) -> Any:
        return extreme(pick, [cast(case.run(event, i), kind) for case in (a, b)])

    return Case(f"{name}({a.text}, {b.text})", kind, a.ragged or b.ragged, run, (a, b))


def reduction(name: str, a: Case, key: Case, n: int, default: Case | None) -> Case:
    """A reduction of the object-level `a`; `default` None is NaN where it is allowed."""
    takes_default = name not in ("sum", "product", "count", "any", "all")
    element = (
        "f"
        if name == "mean"
        else wider(a.kind, least="i")
        if name in ("sum", "product")
        else a.kind
    )
    default = default if takes_default else None
    other = "f" if default is None else default.kind
    kind = {"count": "i", "any": "b", "all": "b"}.get(name)
    if kind is None:
        kind = wider(element, other) if takes_default else element

    def run(event: Event, _: int) -> Any:
        values = [cast(a.run(event, i), element) for i in range(len(event.jets))]
        keys = [key.run(event, i) for i in range(len(event.jets))] if name.startswith("at_") else []
        otherwise = NAN if default is None else default.run(event, -1)
        usable = [k for k in keys if not math.isnan(k)]
        at = {"leading": 0, "subleading": 1, "nth": n}
        result: Any
        if name == "sum":
            result = 0
            for value in values:
                result = result + value
        elif name == "product":
            result = math.prod(values)
        elif name == "count":
            result = sum(values) if a.kind == "b" else len(values)
        elif name in ("any", "all"):
            result = any(values) if name == "any" else all(values)
        elif name in at:
            result = values[at[name]] if len(values) > at[name] else otherwise
        elif not values:
            result = otherwise
        elif name == "mean":
            result = sum(values) / len(values)
        elif name in ("min", "max"):
            result = extreme(min if name == "min" else max, values)
        else:
            pick = max if name == "at_max" else min
            result = values[keys.index(pick(usable)) if usable else 0]
        return cast(result, kind)

    arguments = [a.text]
    if name in ("at_max", "at_min"):
        arguments.append(key.text)
    if name == "nth":
        arguments.append(str(n))
    if default is not None:
        arguments.append(f"default={default.text}")
    keyed = (key,) if name in ("at_max", "at_min") else ()
    parts = (a, *keyed, *((default,) if default is not None else ()))
    return Case(f"{name}({', '.join(arguments)})", kind, False, run, parts)


PLAIN = [
    Case("met", "f", False, lambda event, i: event.met),
    Case("k", "i", False, lambda event, i: event.k),
    Case("flag", "b", False, lambda event, i: event.flag),
    Case("0", "i", False, lambda event, i: 0),
    Case("3", "i", False, lambda event, i: 3),
    Case("0.5", "f", False, lambda event, i: 0.5),
    Case("count(jets)", "i", False, lambda event, i: len(event.jets)),
]
PER_JET = [
    Case("jets.pt", "f", True, lambda event, i: event.jets[i].pt),
    Case("jets.n", "i", True, lambda event, i: event.jets[i].n),
    Case("jets.tagged", "b", True, lambda event, i: event.jets[i].tagged),
    Case("index(jets)", "i", True, lambda event, i: i),
]


UNARY = ["neg", "not ", "abs", "sign", "is_finite", "sqrt"]
BINARY = ["+", "-", "*", "/", "%", "<", "<=", "==", "!=", "and", "or"]
OTHER = ["bit", "where", "min of two", "max of two"]
REDUCTIONS = [
    "sum", "product", "count", "any", "all", "mean", "min", "max", "leading", "subleading", "nth",
    "at_max", "at_min",
]  # fmt: skip
OPERATIONS = [*UNARY, *BINARY, *OTHER, *REDUCTIONS]


@st.composite
def cases(
    draw: Any, ragged: bool, depth: int, kinds: str = "bif", operation: str | None = None
) -> Case:
    """An expression whose value is of one of `kinds`; object-level only where `ragged` allows it."""
    leaf: Case = draw(
        st.sampled_from([case for case in PLAIN + PER_JET * ragged if case.kind in kinds])
    )
    if depth == 0:
        return leaf
    name = operation or draw(st.sampled_from(OPERATIONS))

    def some(kinds: str = "bif", *, ragged: bool = ragged) -> Case:
        return draw(cases(ragged, depth - 1, kinds))  # type: ignore[no-any-return]

    def objects(kinds: str = "bif") -> Case:
        case = some(kinds, ragged=True)
        return case if case.ragged else where(PER_JET[2], case, case)

    if name in UNARY:
        made = unary("-" if name == "neg" else name, some("bi" if name == "not " else "bif"))
    elif name in BINARY:
        allowed = "bi" if name in ("and", "or") else "bif"
        made = binary(some(allowed), name, some(allowed))
    elif name == "bit":
        made = bit(some("i"), draw(st.sampled_from([0, 1, 5])))
    elif name == "where":
        made = where(some("bi"), some(), some())
    elif name in OTHER:
        made = of_several(name[:3], some(), some())
    else:
        optional = name in ("mean", "min", "max") and draw(st.booleans())
        default = None if optional else some(ragged=False)
        key = objects() if name in ("at_max", "at_min") else PER_JET[0]
        argument = objects("bi" if name in ("any", "all") else "bif")
        made = reduction(name, argument, key, draw(st.integers(0, 3)), default)
    return made if made.kind in kinds else leaf


SPECIAL = {**dict.fromkeys(range(41, 47), NAN), 47: math.inf, 48: -math.inf}
QUARTERS = st.integers(-40, 48).map(lambda n: SPECIAL.get(n, n / 4))
JETS = st.builds(Jet, QUARTERS, st.integers(0, 255), st.booleans())
EVENTS = st.lists(
    st.builds(Event, st.lists(JETS, max_size=4), QUARTERS, st.integers(-9, 9), st.booleans()),
    min_size=1,
    max_size=5,
)


@pytest.mark.parametrize("operation", OPERATIONS)
@settings(max_examples=30, deadline=None)
@given(sample=EVENTS, data=st.data())
def test_agrees_with_an_interpreter_in_plain_python(
    operation: str, sample: list[Event], data: st.DataObject
) -> None:
    ragged = data.draw(st.booleans())
    case = data.draw(cases(ragged, data.draw(st.integers(1, 3)), operation=operation))
    offsets = np.cumsum([0, *(len(event.jets) for event in sample)])
    jets = list(itertools.chain.from_iterable(event.jets for event in sample))
    columns = {
        "jets": Value(np.zeros(len(jets)), "jets", offsets),
        "jets.pt": Value(np.array([jet.pt for jet in jets], np.float64), "jets", offsets),
        "jets.n": Value(np.array([jet.n for jet in jets], np.uint8), "jets", offsets),
        "jets.tagged": Value(np.array([jet.tagged for jet in jets], np.bool_), "jets", offsets),
        "met": Value(np.array([event.met for event in sample])),
        "k": Value(np.array([event.k for event in sample], np.int8)),
        "flag": Value(np.array([event.flag for event in sample])),
    }
    expression = parse(case.text)
    try:
        expected = case.over(sample)
    except ZeroDivisionError:
        with pytest.raises(ExpressionError, match="an integer % 0 has no value"):
            expression.evaluate(columns.__getitem__)
        return
    result = (
        evaluate_objects(expression, columns.__getitem__, "jets", offsets)
        if case.ragged
        else evaluate_events(expression, columns.__getitem__, len(sample))
    )
    assert result.dtype.kind in ("iu" if case.kind == "i" else case.kind)
    np.testing.assert_array_equal(result, np.array(expected, result.dtype))
