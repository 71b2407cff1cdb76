"""Corrections against loops in Python over what their files say."""

from __future__ import annotations

import gzip
import math
import pickle
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import correctionlib.schemav2 as schema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particle_transformer.config import Correction
from particle_transformer.data.corrections import CorrectionEvaluator
from particle_transformer.errors import (
    AnalysisFileError,
    AOTError,
    ExpressionError,
    InputFileError,
    SampleError,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHIFTS = {"nominal": 0.0, "up": 0.25, "down": -0.5}
VERTICES = [0.0, 10.0, 20.0, 60.0]
WEIGHTS = [0.8, 1.1, 2.0]
FLAVOURS = {0: 1.2, 4: 1.05, 5: 0.9}
EFFICIENCIES = {0: 0.0, 4: 0.125, 5: 0.75}


def correction(name: str, inputs: dict[str, Any], data: dict[str, Any]) -> schema.Correction:
    return schema.Correction.model_validate({
        "name": name, "version": 1, "data": data,
        "inputs": [{"name": key, "type": kind} for key, kind in inputs.items()],
        "output": {"name": "weight", "type": "real"},
    })  # fmt: skip


def category(name: str, values: dict[Any, Any], **options: Any) -> dict[str, Any]:
    content = [{"key": key, "value": value} for key, value in values.items()]
    return {"nodetype": "category", "input": name, "content": content, **options}


def binned(name: str, edges: list[float], values: list[Any], flow: Any) -> dict[str, Any]:
    return {"nodetype": "binning", "input": name, "edges": edges, "content": values, "flow": flow}


CORRECTIONS = [
    correction(
        "pileup",
        {"NumTrueInteractions": "real", "weights": "string"},
        category("weights", {
            shift: binned("NumTrueInteractions", VERTICES, [w + by for w in WEIGHTS], "error")
            for shift, by in SHIFTS.items()
        }),
    ),
    correction("line", {"x": "real", "y": "real"}, {
        "nodetype": "formula", "parser": "TFormula", "variables": ["x", "y"],
        "expression": "1 + 0.5*x - 0.25*y",
    }),
    correction("flavour", {"flavour": "int", "pt": "real"},
               category("flavour", {k: binned("pt", [0, 50, 1e3], [v, v + 0.125], "clamp")
                                    for k, v in FLAVOURS.items()})),
    correction("efficiency", {"flavour": "int"}, category("flavour", EFFICIENCIES)),
    correction("any", {"era": "string"}, category("era", {"2018": 3.0}, default=0)),
    correction("fixed", {"era": "string"}, category("era", {"2018": 3.0, "2017": 2.0})),
    correction("impossible", {"p": "real"},
               {"nodetype": "formula", "parser": "TFormula", "variables": ["p"], "expression": "x"}),
]  # fmt: skip
COMPOUND = schema.CompoundCorrection.model_validate({
    "name": "both", "inputs": [{"name": "x", "type": "real"}, {"name": "y", "type": "real"},
                               {"name": "era", "type": "string"}],
    "output": {"name": "weight", "type": "real"}, "inputs_update": [], "input_op": "*",
    "output_op": "*", "stack": ["line", "fixed"],
})  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    content = schema.CorrectionSet(
        schema_version=2, corrections=CORRECTIONS, compound_corrections=[COMPOUND]
    )
    path = tmp_path_factory.mktemp("corrections") / "weights.json"
    path.write_text(content.model_dump_json(exclude_unset=True))
    return str(path)


class Columns:
    """Columns by name: of the event, and of the jets whose offsets are given."""

    def __init__(
        self,
        columns: dict[str, NDArray[Any]],
        offsets: NDArray[np.int64] | None = None,
    ) -> None:
        self.columns, self.jets = columns, offsets

    def event(self, text: str) -> NDArray[Any]:
        return self.columns[text]

    def objects(self, text: str, collection: str) -> NDArray[Any]:
        assert collection == "jets"
        return self.columns[text]

    def offsets(self, collection: str) -> NDArray[np.int64]:
        assert self.jets is not None
        return self.jets

    def weigh(self, evaluator: CorrectionEvaluator, events: int) -> NDArray[np.float64]:
        weight = evaluator(events, self.event, self.objects, self.offsets)
        assert weight.dtype == np.float64
        assert weight.shape == (events,)
        return weight


def evaluator(file: str, name: str, inputs: list[str], **options: Any) -> CorrectionEvaluator:
    given = {"file": file, "correction": name, "inputs": inputs, **options}
    return CorrectionEvaluator(Correction.model_validate(given), "weights.w")


def pileup(value: float, shift: str) -> float:
    (weight,) = [
        weight
        for weight, (low, high) in zip(WEIGHTS, pairwise(VERTICES), strict=True)
        if low <= value < high
    ]
    return weight + SHIFTS[shift]


@given(st.lists(st.floats(0, 60, exclude_max=True, width=32)), st.sampled_from(sorted(SHIFTS)))
def test_pileup_equals_a_loop(file: str, values: list[float], shift: str) -> None:
    made = evaluator(file, "pileup", ["Pileup_nTrueInt", shift])
    assert made.expressions == (("Pileup_nTrueInt", None),)
    columns = Columns({"Pileup_nTrueInt": np.array(values, dtype=np.float32)})
    expected = [pileup(value, shift) for value in values]
    assert columns.weigh(made, len(values)).tolist() == expected


def test_a_formula_a_compound_correction_and_literal_inputs(file: str) -> None:
    columns = Columns({"a": np.array([1, 2], dtype=np.uint8), "b + 1": np.array([True, False])})
    line = evaluator(file, "line", ["a", "b + 1"])
    assert columns.weigh(line, 2).tolist() == [1.25, 2.0]
    both = evaluator(file, "both", ["a", "b + 1", "2018"])
    assert both.expressions == (("a", None), ("b + 1", None))
    assert columns.weigh(both, 2).tolist() == [3.75, 6.0]
    fixed = evaluator(file, "fixed", ["2017"])
    assert fixed.expressions == ()
    assert columns.weigh(fixed, 3).tolist() == [2.0, 2.0, 2.0]
    assert columns.weigh(evaluator(file, "any", ["1999"]), 1).tolist() == [0.0]


def test_compressed_files_read_the_same(file: str, tmp_path: Path) -> None:
    packed = tmp_path / "weights.json.gz"
    packed.write_bytes(gzip.compress(Path(file).read_bytes()))
    assert Columns({}).weigh(evaluator(str(packed), "fixed", ["2017"]), 1).tolist() == [2.0]


@st.composite
def jets(draw: st.DrawFn) -> tuple[list[list[tuple[int, float, bool, bool]]], Columns]:
    """Events of jets (flavour, pt, selected, tagged), and the same as columns."""
    jet = st.tuples(
        st.sampled_from(sorted(FLAVOURS)), st.sampled_from([10.0, 50.0, 70.0]),
        st.booleans(), st.booleans(),
    )  # fmt: skip
    events = draw(st.lists(st.lists(jet, max_size=4), max_size=6))
    flat = [jet for event in events for jet in event]
    columns: dict[str, NDArray[Any]] = {
        "flavour": np.array([jet[0] for jet in flat], dtype=np.uint8),
        "pt": np.array([jet[1] for jet in flat], dtype=np.float32),
        "chosen": np.array([jet[2] for jet in flat], dtype=np.bool_),
        "tagged": np.array([jet[3] for jet in flat], dtype=np.int32) * 2,
    }
    offsets = np.cumsum([0, *map(len, events)]).astype(np.int64)
    return events, Columns(columns, offsets)


def scale(flavour: int, pt: float) -> float:
    return FLAVOURS[flavour] + (0.125 if pt >= 50 else 0)


@settings(deadline=None)
@given(jets(), st.booleans())
def test_products_over_objects_equal_a_loop(file: str, drawn: Any, selects: bool) -> None:
    events, columns = drawn
    options = {"objects": "jets"} | ({"select": "chosen"} if selects else {})
    made = evaluator(file, "flavour", ["flavour", "pt"], **options)
    found = columns.weigh(made, len(events))
    expected = [
        math.prod(scale(f, pt) for f, pt, chosen, _ in event if chosen or not selects)
        for event in events
    ]
    assert found == pytest.approx(expected, rel=1e-14)


@settings(deadline=None)
@given(jets(), st.booleans())
def test_tagging_weights_equal_a_loop(file: str, drawn: Any, selects: bool) -> None:
    """P(data)/P(simulation) of the tags seen, each a product of probabilities over jets."""
    events, columns = drawn
    lookup = {"file": file, "correction": "efficiency", "inputs": ["flavour"]}
    options = {"objects": "jets", "tagged": "tagged", "efficiency": lookup}
    options |= {"select": "chosen"} if selects else {}
    made = evaluator(file, "flavour", ["flavour", "pt"], **options)
    expected = []
    for event in events:
        data = simulation = 1.0
        for flavour, pt, chosen, tagged in event:
            if not chosen and selects:
                continue
            # Nothing tags a jet with efficiency 0; there the limit of the ratio is meant.
            efficiency = EFFICIENCIES[flavour] or 1e-9
            in_data = scale(flavour, pt) * efficiency
            data *= in_data if tagged else 1 - in_data
            simulation *= efficiency if tagged else 1 - efficiency
        expected.append(data / simulation)
    assert columns.weigh(made, len(events)) == pytest.approx(expected, rel=1e-7)


def test_tagging_by_hand(file: str) -> None:
    columns = Columns(
        {"flavour": np.array([5, 5]), "pt": np.array([30.0, 30.0]), "t": np.array([True, False])},
        np.array([0, 0, 2]),
    )
    lookup = {"file": file, "correction": "efficiency", "inputs": ["flavour"]}
    made = evaluator(
        file, "flavour", ["flavour", "pt"], objects="jets", tagged="t", efficiency=lookup
    )
    assert made.expressions == (("flavour", "jets"), ("pt", "jets"), ("t", "jets"))
    # SF = 0.9, ε = 0.75: 0.9 · (1 − 0.675)/(1 − 0.75) = 0.9 · 1.3
    assert columns.weigh(made, 2) == pytest.approx([1.0, 1.17], rel=1e-14)


@pytest.mark.parametrize(("value", "count"), [(1.0, 2), (1.5, 2), (-0.25, 1)])
def test_impossible_efficiencies_of_untagged_objects(file: str, value: float, count: int) -> None:
    probability = np.array([0.5, value, value if count == 2 else 0.0, value])
    columns = Columns(
        {"p": probability, "t": np.array([False, False, False, True])}, np.array([0, 4])
    )
    lookup = {"file": file, "correction": "impossible", "inputs": ["p"]}
    made = evaluator(file, "impossible", ["p"], objects="jets", tagged="t", efficiency=lookup)
    message = rf"^weights.w.efficiency: {value:g} for {count} untagged objects of jets \(the first has p = {value:g}\)"
    with pytest.raises(SampleError, match=message):
        columns.weigh(made, 1)


def test_objects_that_do_not_count_may_lie_outside_of_the_bins(file: str) -> None:
    columns = Columns(
        {"x": np.array([5.0, 99.0, np.nan]), "x < 60": np.array([True, False, False])},
        np.array([0, 2, 3]),
    )
    made = evaluator(file, "pileup", ["x", "nominal"], objects="jets", select="x < 60")
    assert columns.weigh(made, 2).tolist() == [0.8, 1.0]


def test_not_a_number_stays_one(file: str) -> None:
    """correctionlib itself would take NaN for the last bin, or stop."""
    columns = Columns({"x": np.array([np.nan, 5.0]), "n": np.array([5.0, np.nan])})
    found = columns.weigh(evaluator(file, "pileup", ["x", "nominal"]), 2)
    assert np.isnan(found[0])
    assert found[1] == 0.8
    clamped = columns.weigh(evaluator(file, "flavour", ["n", "x"]), 2)
    assert np.isnan(clamped).all()


def test_whole_numbers_in_any_dtype(file: str) -> None:
    made = evaluator(file, "efficiency", ["n"])
    for dtype in (np.float32, np.float64, np.int8, np.uint64):
        assert Columns({"n": np.array([5, 4], dtype=dtype)}).weigh(made, 2).tolist() == [
            0.75,
            0.125,
        ]
    for wrong in (4.5, 1e300):
        shown = f"{wrong:g}".replace("+", "[+]")
        with pytest.raises(
            AnalysisFileError,
            match=rf"^weights.w.inputs.0: n gives {shown}, expected whole numbers for flavour \(int\)",
        ):
            Columns({"n": np.array([5.0, wrong])}).weigh(made, 2)


@pytest.mark.parametrize(
    ("name", "inputs", "error", "message"),
    [
        ("pilup", [], AnalysisFileError,
         "weights.w.correction: got 'pilup', expected a correction of .*weights.json; nearest: pileup"),
        ("bot", [], AnalysisFileError, "weights.w.correction: got 'bot', .*nearest: both"),
        ("pileup", ["x"], AnalysisFileError,
         r"weights.w.inputs: got 1 \(x\), .* declares 2: NumTrueInteractions \(real\), weights \(string\)$"),
        ("fixed", [], AnalysisFileError, r"weights.w.inputs: got 0 \(none\), but fixed of"),
        ("pileup", ["x", "nomnal"], AnalysisFileError,
         r"weights.w.inputs.1: got 'nomnal', expected a value of weights \(string\); nearest: nominal"),
        ("both", ["x", "y", "2016"], AnalysisFileError,
         r"weights.w.inputs.2: got '2016', expected a value of era \(string\); nearest: 201"),
        ("pileup", ["nominal it", "up"], ExpressionError,
         r"weights.w.inputs.0: expression 'nominal it', .*expected an expression for NumTrueInteractions"),
    ],
)  # fmt: skip
def test_what_can_be_checked_without_events(
    file: str, name: str, inputs: list[str], error: type[AOTError], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}") as caught:
        _ = evaluator(file, name, inputs).expressions
    assert "\n" not in str(caught.value)


def test_inputs_outside_of_the_correction(file: str) -> None:
    columns = Columns({"x": np.array([3.0, 61.5]), "n": np.array([3, 5])})
    with pytest.raises(
        InputFileError,
        match=r"^weights.w: pileup of .*weights.json has no value for some input \(.*61.5.*\); declared "
        r"are NumTrueInteractions \(real\), weights \(string\); got x, up, x from 3 to 61.5$",
    ):
        columns.weigh(evaluator(file, "pileup", ["x", "up"]), 2)
    with pytest.raises(InputFileError, match=r"efficiency of .*n from 3 to 5$"):
        columns.weigh(evaluator(file, "efficiency", ["n"]), 2)


def test_conditions_are_no_numbers(file: str) -> None:
    columns = Columns({"pt": np.array([30.0])}, np.array([0, 1]))
    made = evaluator(file, "impossible", ["pt"], objects="jets", select="pt")
    with pytest.raises(ExpressionError, match=r"^weights.w.select: 'pt' is a number where a cond"):
        columns.weigh(made, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not a correction file of schema version 2 [(].*JSON"),
        (b"[]", "not a correction file"),
        (b'{"schema_version": 1, "corrections": []}', "not a correction file"),
        (b"\xff\xfe", "cannot read the correction file [(].*utf-8"),
        (b"\x1f\x8b\x08", "cannot read the correction file [(]Compressed"),
        (gzip.compress(b"{" * 999, mtime=0)[:-20] + bytes(20), "cannot read the correction file"),
        (None, "cannot read the correction file [(]No such file"),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "sf.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputFileError, match=rf"^weights.w.file: {path}: {message}") as caught:
        _ = evaluator(str(path), "x", []).expressions
    assert "\n" not in str(caught.value)


def test_pickling_leaves_the_open_file_behind(file: str) -> None:
    made = evaluator(file, "pileup", ["x", "up"])
    closed = pickle.dumps(made)
    columns = Columns({"x": np.array([3.0, 15.0])})
    before = columns.weigh(made, 2).tolist()
    assert pickle.dumps(made) == closed
    assert columns.weigh(pickle.loads(pickle.dumps(made)), 2).tolist() == before == [1.05, 1.35]


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "sf.json"
    for value in (1.5, 2.25):
        plain = category("era", {"2018": value})
        content = schema.CorrectionSet(
            schema_version=2, corrections=[correction("c", {"era": "string"}, plain)]
        )
        path.write_text(content.model_dump_json(exclude_unset=True))
        made = evaluator(str(path), "c", ["2018"])
        assert Columns({}).weigh(made, 1).tolist() == [value]
