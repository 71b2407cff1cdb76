"""Text to tree: a whitelist over Python's own syntax, which is parsed and never executed."""

from __future__ import annotations

import ast
import math
import re
import warnings
from typing import TYPE_CHECKING

from particle_transformer.errors import ExpressionError, nearest
from particle_transformer.expressions.functions import FUNCTIONS, Signature
from particle_transformer.expressions.nodes import (
    Binary,
    Boolean,
    Call,
    Compare,
    Constant,
    Name,
    Node,
    Unary,
)

if TYPE_CHECKING:
    from particle_transformer.expressions.nodes import ArithmeticOperator, ComparisonOperator

__all__ = ["MAX_DEPTH", "MAX_EXPONENT", "MAX_LENGTH", "complaint", "parse_tree", "quoted"]

MAX_LENGTH = 2000
"""Characters of one expression."""

MAX_DEPTH = 80
"""Levels of nesting; a sum of n terms written without parentheses has n of them."""

MAX_EXPONENT = 16
"""Largest absolute exponent of a power."""

_ARITHMETIC: dict[type[ast.operator], ArithmeticOperator] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Mod: "%",
    ast.Pow: "**",
}
_COMPARISONS: dict[type[ast.cmpop], ComparisonOperator] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_ADVICE: dict[type[ast.AST], str] = {
    ast.BitAnd: "'&' is not supported; write 'and', or bit(x, n) for bit n of an integer",
    ast.BitOr: "'|' is not supported; write 'or'",
    ast.Invert: "'~' is not supported; write 'not'",
    ast.BitXor: "'^' is not supported; a power is written '**'",
    ast.LShift: "'<<' is not supported; write bit(x, n) for bit n of an integer",
    ast.RShift: "'>>' is not supported; write bit(x, n) for bit n of an integer",
    ast.FloorDiv: "'//' is not supported; write '/'",
    ast.IfExp: "'a if c else b' is not supported; write where(c, a, b)",
    ast.Subscript: (
        "'[...]' is not supported; write leading(x, default), subleading(x, default) or "
        "nth(x, n, default) for one object"
    ),
    ast.JoinedStr: "text in quotes is not supported",
    ast.In: "'in' is not supported; write == and or",
    ast.NotIn: "'not in' is not supported; write != and and",
    ast.Is: "'is' is not supported; write ==",
    ast.IsNot: "'is not' is not supported; write !=",
    ast.Lambda: "'lambda' is not supported",
    ast.Starred: "'*' before an argument is not supported",
    ast.NamedExpr: "':=' is not supported; write ==",
    ast.Tuple: "a ',' outside the arguments of a function is not supported",
    ast.List: "a list is not supported",
    ast.Set: "'{...}' is not supported",
    ast.Dict: "'{...}' is not supported",
    ast.ListComp: "a comprehension is not supported; sum(x), any(x), ... work on all objects",
    ast.SetComp: "a comprehension is not supported; sum(x), any(x), ... work on all objects",
    ast.DictComp: "a comprehension is not supported; sum(x), any(x), ... work on all objects",
    ast.GeneratorExp: "a comprehension is not supported; sum(x), any(x), ... work on all objects",
}

_SLIPS = {
    "&&": "write 'and'",
    "||": "write 'or'",
    "=>": "write '>='",
    "=<": "write '<='",
    "!": "write 'not'",
    "=": "a comparison is written '=='",
}
"""What other languages write, which no parser of Python takes."""

_ELSEWHERE = {
    "atan2": "arctan2", "deltaPhi": "delta_phi", "deltaR": "delta_r", "fabs": "abs",
    "len": "count", "ln": "log", "num": "count", "pow": "x ** n", "power": "x ** n",
}  # fmt: skip
"""What ROOT, numpy and C call a function, and what takes its place here."""


def quoted(text: str) -> str:
    """Shorten `text` to one line of at most some 200 characters that any terminal can show."""
    # A much longer text need not be read to the end.
    shown = " ".join(text[:MAX_LENGTH].split())
    if len(shown) > 200 or len(text) > MAX_LENGTH:
        shown = f"{shown[:200]}..."
    escaped = (
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in shown
    )
    return f"'{''.join(escaped)}'"


def complaint(text: str, column: int, message: str) -> ExpressionError:
    """Word the error about `text` at `column` (1 = first character)."""
    return ExpressionError(f"expression {quoted(text)}, column {column}: {message}")


def parse_tree(text: str) -> Node:
    """Parse `text`; see `particle_transformer.expressions.parse`."""
    if len(text) > MAX_LENGTH:
        raise complaint(text, MAX_LENGTH + 1, f"longer than {MAX_LENGTH} characters ({len(text)})")
    # YAML block scalars bring line ends along; every blank stays one character, so that columns
    # remain true.
    source = re.sub(r"\s", " ", text)
    stripped = source.lstrip()
    shift = len(source) - len(stripped)
    if not stripped:
        raise complaint(text, 1, "empty; expected an expression")
    for sign, meaning in (("#", "comments are"), ("\\", "backslashes are"), ("\0", "NUL is")):
        if sign in stripped:
            raise complaint(text, shift + stripped.index(sign) + 1, f"{meaning} not supported")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # '1if' and the like: Python will reject them one day
            body = ast.parse(stripped, mode="eval").body
    except SyntaxError as error:
        column = shift + (error.offset or len(stripped) + 1)  # 0: the text ends too early
        advice = _slip(stripped, column - shift - 1)
        raise complaint(text, column, f"not a valid expression ({error.msg}){advice}") from None
    except UnicodeEncodeError as error:
        raise complaint(
            text, shift + error.start + 1, "a character that is not valid Unicode"
        ) from None
    except (MemoryError, RecursionError):
        raise complaint(text, 1, f"nested deeper than {MAX_DEPTH} levels") from None
    return _Lowering(text, stripped, shift).lower(body, 1)


def _slip(source: str, place: int) -> str:
    """Advice on the sign of another language at `place`, or none."""
    for found in re.finditer(r"&&|\|\||=>|=<|!(?!=)|(?<![<>=!])=(?!=)", source):
        if found.start() <= place < found.end():
            return f"; {_SLIPS[found.group()]}"
    return ""


class _Lowering:
    """Turns Python's tree into ours, and rejects what the grammar does not have."""

    def __init__(self, text: str, source: str, shift: int) -> None:
        self.text = text
        self.encoded = source.encode()
        self.shift = shift

    def column(self, node: ast.expr) -> int:
        # Python counts UTF-8 bytes.
        return self.shift + len(self.encoded[: node.col_offset].decode()) + 1

    def error(self, node: ast.expr, message: str) -> ExpressionError:
        return complaint(self.text, self.column(node), message)

    def lower(self, node: ast.expr, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.error(node, f"nested deeper than {MAX_DEPTH} levels")
        column = self.column(node)
        match node:
            case ast.Constant():
                return self.constant(node)
            case ast.Name() | ast.Attribute():
                return Name(self.dotted(node), column=column)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return Unary("-", self.lower(operand, depth + 1), column=column)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Unary("not", self.lower(operand, depth + 1), column=column)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.lower(operand, depth + 1)
            case ast.BinOp(op=ast.Pow(), left=left, right=right):
                return Binary(
                    "**", self.lower(left, depth + 1), self.exponent(right), column=column
                )
            case ast.BinOp(op=operator, left=left, right=right) if type(operator) in _ARITHMETIC:
                return Binary(
                    _ARITHMETIC[type(operator)],
                    self.lower(left, depth + 1),
                    self.lower(right, depth + 1),
                    column=column,
                )
            case ast.Compare(left=left, ops=operators, comparators=others):
                for comparison in operators:
                    if type(comparison) not in _COMPARISONS:
                        raise self.error(node, _ADVICE[type(comparison)])
                return Compare(
                    tuple(self.lower(operand, depth + 1) for operand in (left, *others)),
                    tuple(_COMPARISONS[type(comparison)] for comparison in operators),
                    column=column,
                )
            case ast.BoolOp(op=word, values=values):
                return Boolean(
                    "and" if isinstance(word, ast.And) else "or",
                    tuple(self.lower(value, depth + 1) for value in values),
                    column=column,
                )
            case ast.Call():
                return self.call(node, depth)
        kind: ast.AST = node.op if isinstance(node, ast.BinOp | ast.UnaryOp) else node
        raise self.error(node, _ADVICE.get(type(kind), f"{type(kind).__name__} is not supported"))

    def constant(self, node: ast.Constant) -> Constant:
        value = node.value
        if isinstance(value, str | bytes):
            raise self.error(node, "text in quotes is not supported")
        if not isinstance(value, bool | int | float):
            raise self.error(node, f"{value!r} is not supported; expected a number, True or False")
        if isinstance(value, float) and not math.isfinite(value):
            raise self.error(node, "the number is too large for float64")
        if isinstance(value, int) and value >= 2**63:
            raise self.error(node, "the integer is too large for int64")
        return Constant(value, column=self.column(node))

    def dotted(self, node: ast.Name | ast.Attribute) -> str:
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                return f"{owner}.{name}"
            case ast.Attribute(value=ast.Attribute()):
                raise self.error(node, "a name has at most one dot, as in jets.pt")
        raise self.error(node, "'.' may only follow a name, as in jets.pt")

    def exponent(self, node: ast.expr) -> Constant:
        sign, inner = 1, node
        if isinstance(inner, ast.UnaryOp) and isinstance(inner.op, ast.USub | ast.UAdd):
            sign, inner = (-1 if isinstance(inner.op, ast.USub) else 1), inner.operand
        if not isinstance(inner, ast.Constant) or isinstance(inner.value, bool):
            raise self.error(node, "the exponent of '**' must be a plain number")
        constant = self.constant(inner)
        if abs(constant.value) > MAX_EXPONENT:
            raise self.error(node, f"the exponent of '**' must lie within ±{MAX_EXPONENT}")
        return Constant(sign * constant.value, column=self.column(node))

    def call(self, node: ast.Call, depth: int) -> Call:
        if not isinstance(node.func, ast.Name):
            raise self.error(node, "only a function's plain name can be called")
        name = node.func.id
        if name not in FUNCTIONS:
            here = _ELSEWHERE.get(name)
            advice = nearest(name, FUNCTIONS) if here is None else f"write {here}"
            raise self.error(node, f"unknown function {name}; {advice}")
        signature = FUNCTIONS[name]
        arguments = list(node.args)
        default = None
        for keyword in node.keywords:
            if keyword.arg != "default" or signature.default == "none":
                shown = "**" if keyword.arg is None else f"{keyword.arg}="
                raise self.error(
                    keyword.value, f"{name}{signature} has no keyword argument {shown}"
                )
            if default is not None:
                raise self.error(keyword.value, f"{name}{signature} got default= twice")
            default = keyword.value
        expected = len(signature.arguments)
        if signature.default == "required" and default is None and len(arguments) == expected + 1:
            default = arguments.pop()
        if len(arguments) < expected or (len(arguments) > expected and not signature.variadic):
            raise self.error(
                node, f"{name}{signature} got {len(arguments)} arguments, expected {expected}"
            )
        if signature.default == "required" and default is None:
            raise self.error(
                node, f"{name}{signature} needs a default for events without the object"
            )
        if default is not None and signature.variadic and len(arguments) > 1:
            raise self.error(node, f"{name} of several arguments is elementwise and has no default")
        if signature.integer is not None:
            self.integer(arguments[-1], name, signature)
        return Call(
            name,
            tuple(self.lower(argument, depth + 1) for argument in arguments),
            None if default is None else self.lower(default, depth + 1),
            column=self.column(node),
        )

    def integer(self, node: ast.expr, name: str, signature: Signature) -> None:
        allowed = signature.integer
        assert allowed is not None  # as the caller saw
        plain = isinstance(node, ast.Constant) and type(node.value) is int
        if not (plain and node.value in allowed):  # type: ignore[attr-defined]
            raise self.error(
                node,
                f"{signature.arguments[-1]} of {name}{signature} must be a plain integer "
                f"from {allowed[0]} to {allowed[-1]}",
            )
