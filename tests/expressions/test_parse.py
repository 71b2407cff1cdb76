"""The grammar: what parses, to which tree, and the error for everything else."""

from __future__ import annotations

import re

import pytest

from particle_transformer.errors import ExpressionError
from particle_transformer.expressions import conjuncts, parse
from particle_transformer.expressions.nodes import (
    Binary,
    Boolean,
    Call,
    Compare,
    Constant,
    Name,
    Unary,
)
from particle_transformer.expressions.parse import MAX_DEPTH, MAX_LENGTH


def test_tree_of_a_selection() -> None:
    expression = parse("30 < pt < 50 and not sum(jets.pt) ** -2 == -1.5")
    assert expression.tree == Boolean(
        "and",
        (
            Compare((Constant(30), Name("pt"), Constant(50)), ("<", "<")),
            Unary(
                "not",
                Compare(
                    (
                        Binary("**", Call("sum", (Name("jets.pt"),)), Constant(-2)),
                        Unary("-", Constant(1.5)),
                    ),
                    ("==",),
                ),
            ),
        ),
    )


def test_names_once_each_in_order() -> None:
    text = "where(pt > met.phi, sum(jets.pt), max(jets.pt, default=ht)) + count(jets) + pt"
    assert parse(text).names == ("pt", "met.phi", "jets.pt", "ht", "jets")


def test_precedence_is_python_s() -> None:
    assert parse("-a ** 2 + b * c").tree == Binary(
        "+",
        Unary("-", Binary("**", Name("a"), Constant(2))),
        Binary("*", Name("b"), Name("c")),
    )


def test_default_as_last_argument_or_keyword() -> None:
    assert parse("leading(jets.pt, 0)") == parse("leading(jets.pt, default=0)")
    assert parse("max(x, default=0)").tree == Call("max", (Name("x"),), Constant(0))
    assert parse("max(x, 0)").tree == Call("max", (Name("x"), Constant(0)))


def test_blanks_and_line_ends_do_not_matter() -> None:
    assert parse("\n  pt >\n 30\t").tree == parse("pt > 30").tree


def test_unary_plus_is_nothing() -> None:
    assert parse("+x").tree == Name("x")


def test_true_and_false_are_constants() -> None:
    for text, value in (("True", True), ("False", False), ("1", 1)):
        tree = parse(text).tree
        assert isinstance(tree, Constant)
        assert tree.value is value


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "empty"),
        ("  \n", 1, "empty"),
        ("pt > > 3", 6, "not a valid expression"),
        ("pt +", 5, "not a valid expression"),
        ("  (pt", 3, r"'\(' was never closed"),
        ("1if", 1, "not a valid expression"),
        ("pt > 30 # GeV", 9, "comments are not supported"),
        ("pt \\\n > 3", 4, "backslashes"),
        ("a; b", 2, "not a valid expression"),
        ("x = 3", 3, "not a valid expression"),
        ("1 + summ(x)", 5, "unknown function summ; nearest: sum"),
        ("__import__(x)", 1, "unknown function __import__"),
        ("1 + a.b.c", 5, "a name has at most one dot"),
        ("log(x).y", 1, "'.' may only follow a name"),
        ("jets.pt[0] > 3", 1, re.escape("leading(x, default)")),
        ("pt == 'a'", 7, "text in quotes"),
        ("f'{pt}'", 1, "text in quotes"),
        ("b'a'", 1, "text in quotes"),
        ("lambda: 1", 1, "'lambda' is not supported"),
        ("[pt for pt in x]", 1, "a comprehension is not supported"),
        ("sum(pt for pt in x)", 4, "a comprehension is not supported"),
        ("(a, b)", 1, "a ',' outside the arguments"),
        ("[a]", 1, "a list is not supported"),
        ("{a}", 1, "is not supported"),
        ("a if b else c", 1, re.escape("where(c, a, b)")),
        ("a & b", 1, "write 'and'"),
        ("a | b", 1, "write 'or'"),
        ("~a", 1, "write 'not'"),
        ("a ^ 2", 1, "a power is written"),
        ("a << 2", 1, re.escape("write bit(x, n)")),
        ("jetId & 2", 1, re.escape("or bit(x, n)")),
        ("a // 2", 1, "'//' is not supported"),
        ("a @ b", 1, "MatMult is not supported"),
        ("a is b", 1, "write =="),
        ("a < b in c", 1, "'in' is not supported"),
        ("(a := 3)", 2, "':=' is not supported"),
        ("None", 1, "None is not supported"),
        ("...", 1, "Ellipsis is not supported"),
        ("1j", 1, "1j is not supported"),
        ("a + 1e999", 5, "too large for float64"),
        ("9223372036854775808", 1, "too large for int64"),
        ("a + x ** y", 10, "exponent .* must be a plain number"),
        ("2 ** 3 ** 4", 6, "exponent .* must be a plain number"),
        ("9 ** 9 ** 9", 6, "exponent .* must be a plain number"),
        ("x ** True", 6, "exponent .* must be a plain number"),
        ("x ** 17", 6, "within ±16"),
        ("x ** -16.5", 6, "within ±16"),
        ("log(x, y)", 1, re.escape("log(x) got 2 arguments, expected 1")),
        ("delta_phi(x)", 1, re.escape("delta_phi(phi1, phi2) got 1 arguments, expected 2")),
        ("min()", 1, re.escape("min(x, ..., default=...) got 0 arguments")),
        ("sum(x, default=0)", 16, "has no keyword argument default="),
        ("log(x=3)", 7, "has no keyword argument x="),
        ("log(**x)", 7, re.escape("has no keyword argument **")),
        ("log(*x)", 5, "before an argument"),
        ("min(a, b, default=3)", 1, "elementwise and has no default"),
        ("leading(x)", 1, re.escape("leading(x, default) needs a default")),
        ("leading(x, 1, 2)", 1, "got 3 arguments"),
        ("max(x, default=1, default=2)", 27, "got default= twice"),
        ("nth(x, 2)", 1, re.escape("nth(x, n, default) needs a default")),
        ("nth(x, -1, 0)", 8, re.escape("n of nth(x, n, default) must be a plain integer from 0")),
        ("nth(x, k, 0)", 8, "must be a plain integer from 0 to 9999"),
        ("nth(x, 10000, 0)", 8, "must be a plain integer from 0 to 9999"),
        ("nth(x, True, 0)", 8, "must be a plain integer"),
        ("nth(x, 1.0, 0)", 8, "must be a plain integer"),
        ("bit(x, 64)", 8, re.escape("n of bit(x, n) must be a plain integer from 0 to 63")),
        ("bit(x)", 1, re.escape("bit(x, n) got 1 arguments, expected 2")),
        ("bit(x, 1, default=0)", 19, "no keyword argument default="),
        ("at_max(x, default=0)", 1, re.escape("at_max(x, key, default) got 1 arguments")),
        ("at_min(x, y)", 1, re.escape("at_min(x, key, default) needs a default")),
        ("at_max(x, y, 0, 1)", 1, "got 4 arguments, expected 2"),
        ("index()", 1, re.escape("index(x) got 0 arguments")),
        ("product(x, default=1)", 20, "no keyword argument default="),
        ("invariant_mass(x, y, z)", 1, "got 3 arguments, expected 4"),
        ("invariant_mass(a, b, c, d, 0)", 1, "got 5 arguments, expected 4"),
        ("pair_mass(a, b, c, d)", 1, "got 4 arguments, expected 8"),
        ("at_maximum(x, y, 0)", 1, "unknown function at_maximum; nearest: at_max"),
        ("invariantmass(a, b, c, d)", 1, "nearest: invariant_mass"),
        ("sign(x).__class__", 1, "'.' may only follow a name"),
        ("`pt`", 1, r"not a valid expression \([^)]*\)$"),
        ("pt > 30 && abs(eta) < 2", 10, "not a valid expression .*; write 'and'$"),
        ("a || b", 4, "; write 'or'$"),
        ("a and !b", 7, "; write 'not'$"),
        ("count(jets) = 2", 13, "; a comparison is written '=='$"),
        ("max(x, default=0) = 2", 19, "; a comparison is written '=='$"),
        ("pt => 30", 4, "; write '>='$"),
        ("pt =< 30", 4, "; write '<='$"),
        ("ln(pt)", 1, "unknown function ln; write log$"),
        ("pow(pt, 2)", 1, r"unknown function pow; write x \*\* n$"),
        ("deltaR(a, b, c, d)", 1, "write delta_r$"),
        ("jets.pt(3)", 1, "only a function's plain name can be called"),
        ("(lambda: 1)()", 1, "only a function's plain name"),
        ("sum(x)(y)", 1, "only a function's plain name"),
        ("ηη + 'a'", 6, "text in quotes"),
        ("a\0b", 2, "NUL"),
        ("a + '\ud800'", 6, "not valid Unicode"),
    ],
)
def test_errors_say_column_and_reason(text: str, column: int, message: str) -> None:
    with pytest.raises(ExpressionError, match=f"column {column}: .*{message}") as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "-" * (MAX_LENGTH - 1) + "1",
        "not " * 400 + "x",
        "(" * 90 + "1" + ")" * 90 + "+" + "+".join("1" * (MAX_DEPTH + 1)),
        "log(" * (MAX_DEPTH + 1) + "x" + ")" * (MAX_DEPTH + 1),
        "abs(" * 300 + "x" + ")" * 300,
        "+".join("a" * 900),
        "a" + ".b" * 900,
        "a" + "[0]" * 600,
        "x**2" * 1 + "**2" * 600,
    ],
)
def test_hostile_nesting_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text)


def test_too_long() -> None:
    assert parse("x" * MAX_LENGTH).names == ("x" * MAX_LENGTH,)
    with pytest.raises(ExpressionError, match=r"longer than 2000 characters \(2001\)"):
        parse("x" * (MAX_LENGTH + 1))


def test_deepest_allowed() -> None:
    depth = MAX_DEPTH - 1
    assert parse("abs(" * depth + "x" + ")" * depth).names == ("x",)
    assert parse("+".join("x" * MAX_DEPTH)).names == ("x",)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("pt > 3", ("pt > 3",)),
        ("a or b and c", ("a or b and c",)),
        ("a > 1 and\n b < 2 and not c", ("a > 1", "b < 2", "not c")),
        ("η > 0 and (c and d) and log((y))", ("η > 0", "c and d", "log((y))")),
        ("a > 1 and (b or c)", ("a > 1", "b or c")),
    ],
)
def test_conjuncts_together_are_the_selection(text: str, parts: tuple[str, ...]) -> None:
    assert conjuncts(text) == parts
    whole = parse(text).tree
    operands = whole.operands if isinstance(whole, Boolean) and len(parts) > 1 else (whole,)
    assert tuple(parse(part).tree for part in parts) == operands
