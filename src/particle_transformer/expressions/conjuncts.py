"""A selection as the sequence of its cuts."""

from __future__ import annotations

import ast

from particle_transformer.expressions.parse import parse_tree

__all__ = ["conjuncts"]


def conjuncts(text: str) -> tuple[str, ...]:
    """Split a selection at its outermost ``and``; each part is an expression of its own.

    >>> conjuncts("met.pt > 200 and (ht > 500 or count(jets) > 4)")
    ('met.pt > 200', 'ht > 500 or count(jets) > 4')

    Raises
    ------
    ExpressionError
        If `text` is not an expression.
    """
    parse_tree(text)
    source = " ".join(text.split())
    body = ast.parse(source, mode="eval").body
    if not (isinstance(body, ast.BoolOp) and isinstance(body.op, ast.And)):
        return (source,)
    # Unparsing keeps the meaning where a part has parentheses around it.
    return tuple(ast.get_source_segment(source, part) or ast.unparse(part) for part in body.values)
