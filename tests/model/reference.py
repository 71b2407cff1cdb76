"""The network of DESIGN.md once more: float64, one event and one object at a time, no torch.

Written from the papers, not from the package: textbook formulas where the package rearranges.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
_erf = np.vectorize(math.erf, otypes=[np.float64])
State = dict[str, Array]


def _linear(state: State, name: str, x: Array) -> Array:
    bias = state.get(f"{name}.bias")
    y: Array = state[f"{name}.weight"] @ x
    return y if bias is None else y + bias


def _norm(state: State, name: str, x: Array) -> Array:
    normed: Array = (x - x.mean()) / math.sqrt(x.var() + 1e-5)
    return normed * state[f"{name}.weight"] + state[f"{name}.bias"]


def _gelu(x: Array) -> Array:
    y: Array = 0.5 * x * (1 + _erf(x / math.sqrt(2)))
    return y


def _mlp(state: State, name: str, layers: list[int], x: Array) -> Array:
    for layer in layers[:-1]:
        x = _gelu(_linear(state, f"{name}.{layer}", x))
    return _linear(state, f"{name}.{layers[-1]}", x)


def _silu(x: Array) -> Array:
    y: Array = x / (1 + np.exp(-x))
    return y


def _feedforward(state: State, name: str, kind: str, x: Array) -> Array:
    hidden = _linear(state, f"{name}.hidden", _norm(state, f"{name}.norm", x))
    if kind == "swiglu":
        gate, linear = np.split(hidden, 2)
        return _linear(state, f"{name}.out", _silu(gate) * linear)
    return _linear(state, f"{name}.out", _gelu(hidden))


def _encoded(state: State, name: str, kind: str, x: Array) -> Array:
    """arXiv:2203.05556 eqs. (1) and (3), one feature at a time."""
    if kind == "linear":
        return x
    parts: list[float] = []
    for feature, value in enumerate(x):
        if kind == "periodic":
            angles = 2 * math.pi * state[f"{name}.encoding.frequency"][feature] * value
            parts += [value, *np.sin(angles), *np.cos(angles)]
            continue
        lows, widths = state[f"{name}.encoding.low"], state[f"{name}.encoding.width_of_bin"]
        for t, (low, width) in enumerate(zip(lows, widths, strict=True)):
            filled = (value - low) / width
            if t > 0 and value < low:
                filled = 0.0
            if t < len(lows) - 1 and value >= low + width:
                filled = 1.0
            parts.append(filled)
    return np.array(parts)


def _embedded(state: State, name: str, kind: str, x: Array) -> Array:
    return _mlp(state, f"{name}.layers", [0, 2, 4], _encoded(state, name, kind, x))


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max())
    y: Array = e / e.sum()
    return y


def _pair_features(a: Array, b: Array) -> Array:
    def rapidity(p: Array) -> float:
        return 0.5 * math.log((p[3] + p[2]) / (p[3] - p[2]))

    pt_a, pt_b = math.hypot(a[0], a[1]), math.hypot(b[0], b[1])
    dphi = abs(math.atan2(a[1], a[0]) - math.atan2(b[1], b[0]))
    dphi = min(dphi, 2 * math.pi - dphi)
    delta = math.hypot(rapidity(a) - rapidity(b), dphi)
    total = a + b
    mass2 = total[3] ** 2 - total[0] ** 2 - total[1] ** 2 - total[2] ** 2
    smaller = min(pt_a, pt_b)
    features = [delta, smaller * delta, smaller / (pt_a + pt_b), mass2]
    logs: Array = np.log(np.array(features))
    return logs


def attend_one(
    query: Array, keys: list[Array], values: list[Array], bias: Array, heads: int
) -> Array:
    """Attention of one query; `bias` (heads, keys)."""
    d = len(query) // heads
    out = []
    for head in range(heads):
        part = slice(head * d, (head + 1) * d)
        scores = np.array([query[part] @ key[part] for key in keys]) / math.sqrt(d)
        weights = _softmax(scores + bias[head])
        out.append(sum(w * value[part] for w, value in zip(weights, values, strict=True)))
    return np.concatenate(out)


def _bias(state: State, momenta: list[Array | None], heads: int) -> Array:
    n = len(momenta)
    bias = np.zeros((n, heads, n))
    if "pair_bias.centre" not in state:
        return bias
    layers = sorted({int(k.split(".")[2]) for k in state if k.startswith("pair_bias.layers.")})
    for i in range(n):
        for j in range(n):
            first, second = momenta[i], momenta[j]
            if i != j and first is not None and second is not None:
                features = _pair_features(first, second)
                features = (features - state["pair_bias.centre"]) / state["pair_bias.spread"]
                bias[i, :, j] = _mlp(state, "pair_bias.layers", layers, features)
    return bias


def logits(
    state: State,
    arguments: dict[str, Any],
    objects: list[Array],
    momenta: list[Array],
    event: Array,
) -> Array:
    """Logits of one event.

    `objects` and `momenta` hold an array (objects, features) and (objects, 4) per collection.
    """
    heads = arguments["num_heads"]
    rows: list[Array] = []
    vectors: list[Array | None] = []
    embedding = arguments["feature_embedding"]
    for number, (values, fourvectors) in enumerate(zip(objects, momenta, strict=True)):
        scaling = f"object_scaling.{number}"
        for x, p in zip(values, fourvectors, strict=True):
            standard = (x - state[f"{scaling}.mean"]) / state[f"{scaling}.scale"]
            embedded = _embedded(state, f"embedding.{number}", embedding, standard)
            rows.append(embedded + state["collection_embedding"][number])
            vectors.append(p)
    event = (event - state["event_scaling.mean"]) / state["event_scaling.scale"]
    if arguments["event_features"] != "concatenated":
        rows.append(_embedded(state, "event_embedding", embedding, event))
        vectors.append(None)
    bias = _bias(state, vectors, heads)

    for number in range(arguments["num_att_blocks"]):
        block = f"att_blocks.{number}"
        projected = [
            np.split(
                _linear(
                    state,
                    f"{block}.attention.query_key_value",
                    _norm(state, f"{block}.attention.norm", x),
                ),
                3,
            )
            for x in rows
        ]
        keys, values_ = [p[1] for p in projected], [p[2] for p in projected]
        after = []
        for i, x in enumerate(rows):
            branch = attend_one(projected[i][0], keys, values_, bias[i], heads)
            branch = _linear(state, f"{block}.attention.out", branch)
            skip = f"{block}.attention.skip"
            skipped = _linear(state, skip, x) if f"{skip}.weight" in state else x
            y = skipped + state[f"{block}.attention.out.scale"] * branch
            branch = _feedforward(state, f"{block}.feedforward", arguments["feedforward"], y)
            after.append(y + state[f"{block}.feedforward.out.scale"] * branch)
        rows = after

    token = state["class_token"]
    for number in range(arguments["num_class_blocks"]):
        block = f"class_blocks.{number}"
        normed = [_norm(state, f"{block}.attention.norm", x) for x in [token, *rows]]
        projected = [np.split(_linear(state, f"{block}.attention.key_value", x), 2) for x in normed]
        branch = attend_one(
            _linear(state, f"{block}.attention.query", normed[0]),
            [p[0] for p in projected],
            [p[1] for p in projected],
            np.zeros((heads, len(normed))),
            heads,
        )
        branch = _linear(state, f"{block}.attention.out", branch)
        token = token + state[f"{block}.attention.out.scale"] * branch
        branch = _feedforward(state, f"{block}.feedforward", arguments["feedforward"], token)
        token = token + state[f"{block}.feedforward.out.scale"] * branch

    token = _norm(state, "class_norm", token)
    if arguments["event_features"] != "token":
        token = np.concatenate([token, event])
    return _mlp(state, "head", [0, 3, 6], token)
