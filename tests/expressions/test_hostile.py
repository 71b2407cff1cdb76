"""Hostile text is refused with one line, soon; what is accepted evaluates, or says why not."""

from __future__ import annotations

import re
import time
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from particle_transformer.errors import AOTError, ExpressionError, InputFileError
from particle_transformer.expressions import (
    FUNCTIONS,
    Expression,
    Value,
    conjuncts,
    evaluate_events,
    evaluate_objects,
    parse,
)

OFFSETS = np.array([0, 2, 2, 3])
DTYPES = {
    "b": np.bool_, "u8": np.uint8, "i8": np.int8, "i32": np.int32, "i64": np.int64,
    "u64": np.uint64, "f16": np.float16, "f32": np.float32, "f64": np.float64,
}  # fmt: skip
EXTREME = {
    "b": [0, 1, 1], "u8": [0, 255, 1], "i8": [-128, 0, 127], "i32": [-(2**31), 0, 5],
    "i64": [-(2**63), 2**63 - 1, 0], "u64": [2**64 - 1, 0, 2], "f16": [np.nan, np.inf, -0.0],
    "f32": [-np.inf, 1e38, 0.1], "f64": [np.nan, 1e308, -1.5],
}  # fmt: skip
COLUMNS = {
    "jets": Value(np.zeros(3), "jets", OFFSETS),
    "leptons.pt": Value(np.ones(4), "leptons", np.array([0, 0, 1, 4])),
    **{name: Value(np.array(EXTREME[name], dtype)) for name, dtype in DTYPES.items()},
    **{
        f"jets.{name}": Value(np.array(EXTREME[name], dtype), "jets", OFFSETS)
        for name, dtype in DTYPES.items()
    },
}


def lookup(name: str) -> Value:
    if name not in COLUMNS:
        message = f"no branch {name}"
        raise InputFileError(message)
    return COLUMNS[name]


def parsed_or_refused(text: str) -> Expression | None:
    try:
        expression = parse(text)
    except ExpressionError as error:
        message = str(error)
        assert message.isprintable()  # one line, and nothing that a terminal obeys
        column = re.search(r", column (\d+): ", message)
        assert column is not None
        assert 1 <= int(column[1]) <= len(text) + 1
        with pytest.raises(ExpressionError):
            conjuncts(text)
        return None
    assert all(name.count(".") <= 1 for name in expression.names)
    assert all(parse(part) for part in conjuncts(text))
    return expression


def evaluates_or_says_why(text: str) -> None:
    expression = parsed_or_refused(text)
    if expression is None:
        return
    message = ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for condition in (False, True):
            try:
                assert evaluate_events(expression, lookup, 3, condition=condition).shape == (3,)
            except AOTError as error:
                message += str(error)
            try:
                values = evaluate_objects(expression, lookup, "jets", OFFSETS, condition=condition)
                assert values.shape == (3,)
            except AOTError as error:
                message += str(error)
    assert message.isprintable()


HOSTILE = [
    "(" * 100_000 + ")" * 100_000, "[" * 100_000, "-" * 100_000 + "1", "not " * 50_000 + "x",
    "x" * 1_000_000, "1+" * 500_000 + "1", " " * 1_000_000, "\n" * 3000, "9" * 100_000,
    "(" * 999 + "1" + ")" * 999, "(" * 199 + "x" + ")" * 199, "f(" * 600, "{" * 1999, "-" * 1999,
    "a" + ".b" * 900, "x if y else " * 150 + "z", "lambda:" * 280 + "1", "x[" * 900, "~" * 1999,
    "9**9**9", "9**9**9**9**9", "2**1000000000", "x**9999999999999999", "1e400", "-1e400", "1e99999",
    "9" * 1999, "0x" + "f" * 1990, "0b" + "1" * 1990, "1_0" * 600, "1e-99999999", "0777", "1.2.3",
    "x ** -9223372036854775808", "9223372036854775808", "(1 << 99999999999)", "'a' * 999999999",
    "[0] * 999999999", "().__class__.__bases__[0].__subclasses__()", "x.__class__.__mro__",
    "__import__('os').system('true')", "__import__", "__builtins__.open", "eval('1')", "open(1)",
    "exec('1')", "globals()", "f'{x}'", "f'{x!r:>{y}}'", "rb'x'", "'''", '"', "'a' 'b'", "(y := 3)",
    "lambda: 0", "lambda x=1: x", "[x for x in y]", "{x: y for x in z}", "(x for x in y)", "`x`",
    "x; y", "import os", "x = 1", "def f(): pass", "await x", "yield x", "yield from x", "*x", "**x",
    "max(*x)", "max(**x)", "max(x, x=1)", "max(x, default=1, default=2)", "max(default=1)", "x\\\ny",
    "x\0", "\0", "\ud800", "x\udfff > 1", "\ufeffx", "x\x1b[2J", "\x1b]0;x\x07", "x\u202ey", "x\u200b",
    "\u2028x", "ｐｔ", "𝑥", "x²", "π", "١ + 1", "x..y", ".x", "x.", "x.1", "1.x", "1if x else 2", "1or 2",
    "x<>y", "x is x", "x in x", "not", "and", "...", "Ellipsis", "None", "1j", "inf", "nan", "b''", "?",
    "print x", "x!", "x->y", "@x", "$x", "%s", "% 2", "x %% 2", "{}", "[]", "()", ",", "x,", ":", "::",
    "nth(x, 99999999999999999999, 0)", "nth(jets.f32, 9999, 0)", "bit(jets.u64, 63)", "bit(1, 63)",
    "bit(True, 0)", "nth(x, 1e3, 0)", "i64 % -1", "i64 % i64", "u64 % 2", "i64 / -1", "abs(i64)", "-i64",
    "product(jets.i64)", "sum(jets.f32 * 1e38)", "f16 + 9223372036854775807", "u8 + 9223372036854775807",
    "where(b, u8, 300)", "where(b, u64, -1)", "where(b, i64, u64)", "max(jets.u64, default=-1)",
    "at_max(jets.b, jets.b, -1)", "at_min(jets.u64, jets.f16, f64)", "invariant_mass(1, 2, 3, 4)",
    "invariant_mass(jets.f64, jets.f64, jets.f16, 9223372036854775807)", "pair_mass(1,1,1,1,1,1,1,1)",
    "u64 == -1", "u8 < -9223372036854775807", "(f64 ** 16) ** 16", "0 ** -1", "(0 - 1) ** 0.5",
    "i64 ** 16", "f32 * 1e308", "f16 > 1e308", "u8 == 1e308", "index(leptons.pt) + index(jets)",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:30]))
def test_hostile_text_is_handled_soon(text: str) -> None:
    start = time.process_time()
    evaluates_or_says_why(text)
    assert time.process_time() - start < 0.5  # milliseconds, with room for a busy machine


@pytest.mark.parametrize("sign", ["x", "(", " ", "9", "\ud800", "é"])
def test_a_very_long_text_is_not_read_to_its_end(sign: str) -> None:
    text = sign * 20_000_000
    start = time.process_time()
    with pytest.raises(
        ExpressionError, match=r"longer than 2000 characters \(20000000\)"
    ) as caught:
        parse(text)
    assert time.process_time() - start < 0.05
    assert len(str(caught.value)) < 2000


@given(st.text(max_size=60) | st.text("()[]{}.,'\"+-*/%<>=!&|^~@:; \n\t\0\\#01ex_π", max_size=40))
@example("\ud800")
@example("absent\n")
@example("absent\x0b+ 1")
@example("a\x1b[31m'")
def test_any_text_parses_or_is_refused(text: str) -> None:
    evaluates_or_says_why(text)


FRAGMENTS = [
    *FUNCTIONS, *COLUMNS, "1", "0.5", "1e400", "True", "None", "(", ")", ",", ".", "+", "-", "*", "/",
    "**", "//", "%", "<", "<=", "==", "!=", "and", "or", "not", "in", "is", "if", "else", "lambda",
    ":", ":=", "[", "]", "{", "}", "'", '"', "f'", "#", "\\", "\n", " ", "for", "x", "default=", "=",
    "await", "yield", "~", "&", "@", "0x", "1_0", "1j", "…", ";", "__class__", "`", "\0", "\ud800",
]  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25), st.sampled_from(["", " "]))
def test_any_python_like_text_parses_or_is_refused(parts: list[str], joint: str) -> None:
    evaluates_or_says_why(joint.join(parts))


LEAVES = st.sampled_from(
    [
        *COLUMNS,
        "0",
        "1",
        "-1",
        "300",
        "0.5",
        "-0.0",
        "1e308",
        "9223372036854775807",
        "True",
        "absent",
    ]
)


def _call(name: str, children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    signature = FUNCTIONS[name]
    size = len(signature.arguments)
    arguments = [children] * size
    if signature.integer is not None:
        arguments[-1] = st.sampled_from(["0", "1", "7", "63"])
    ends = {"none": [""], "keyword": ["", ", default={}"], "required": [", {}", ", default={}"]}
    return st.builds(
        lambda values, end, default: f"{name}({', '.join(values)}{end.format(default)})",
        st.tuples(*arguments),
        st.sampled_from(ends[signature.default]),
        children,
    )


def _grow(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = ["+", "-", "*", "/", "%", "<", ">=", "==", "!=", "and", "or"]
    return st.one_of(
        st.builds(
            lambda a, op, b: f"({a} {op} {b})", children, st.sampled_from(operators), children
        ),
        st.builds(lambda sign, a: f"({sign}{a})", st.sampled_from(["-", "not "]), children),
        st.builds(
            lambda a, n: f"({a}) ** {n}", children, st.sampled_from(["2", "-1", "0.5", "16"])
        ),
        st.sampled_from(sorted(FUNCTIONS)).flatmap(lambda name: _call(name, children)),
    )


@settings(max_examples=800, deadline=None)
@given(st.recursive(LEAVES, _grow, max_leaves=8))
def test_any_expression_of_the_grammar_evaluates_or_says_why(text: str) -> None:
    assert parsed_or_refused(text) is not None
    evaluates_or_says_why(text)
