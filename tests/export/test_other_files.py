"""Fewer bits, programs of torch.export, and the C++ example: slow, each exports or compiles anew."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from export.runs import MODEL, analysis_of, events_of, random_run
from export.test_onnx import outputs_of, padded_file, predictions, session_of
from helpers.runs import small_analysis
from particle_transformer.config import load_analysis
from particle_transformer.export.precision import auc_loss, reduced
from particle_transformer.export.run import export_run
from particle_transformer.export.torch_file import METADATA, load_program
from particle_transformer.training.run import train

if TYPE_CHECKING:
    from particle_transformer.artefact.run_folder import RunFolder

onnx = pytest.importorskip("onnx")
CPP = Path(__file__).parents[2] / "examples" / "cpp"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("files")
    return random_run(folder, analysis_of(folder, model={**MODEL, "pair_bias": True}))


def test_sixteen_bits_round_the_weights_alone() -> None:
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(1).normal(size=(32, 16)).astype(np.float32)
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 32])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16])],
            [numpy_helper.from_array(weight, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 18)], ir_version=8,
    )  # fmt: skip
    session = session_of(reduced(model, "fp16").SerializeToString())
    x = np.random.default_rng(2).normal(size=(5, 32)).astype(np.float32)
    expected = x @ weight.astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, atol=1e-5)
    assert reduced(model, "fp32") is model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of PyTorch's own exporter
def test_a_program_of_torch_gives_the_same(run: RunFolder, tmp_path: Path) -> None:
    path = tmp_path / "scorer.pt2"
    metadata = export_run(run.path, path, to="torch")
    names = {each["name"] for each in metadata["inputs"]}
    found = load_program(path)(padded_file(run.path.parent / "s.root", names, slots=12))
    logits, _, mean, fold = predictions(run, events_of(load_analysis(run.analysis)))
    np.testing.assert_allclose(found["logits"], logits, atol=3e-6)
    np.testing.assert_allclose(found["ensemble_logits"], mean, atol=3e-6)
    np.testing.assert_array_equal(found["fold"], fold)
    held = {METADATA: ""}
    torch.export.load(path, extra_files=held)
    assert json.loads(held[METADATA]) == metadata


@pytest.mark.slow
def test_what_fewer_bits_cost_is_measured_and_written(tmp_path: Path) -> None:
    from particle_transformer.cli.main import app

    train(load_analysis(small_analysis(tmp_path)), tmp_path / "run")
    for precision in ("int8", "fp16"):
        path = tmp_path / f"{precision}.onnx"
        arguments = ["export", str(tmp_path / "run"), "--to", "onnx", "--out", str(path)]
        result = CliRunner().invoke(app, [*arguments, "--precision", precision])
        assert result.exit_code == 0, result.output
        assert f"{precision} loses" in result.output
        props = {each.key: each.value for each in onnx.load(path).metadata_props}
        assert props["precision"] == precision
        loss = float(props["auc_loss"])
        assert abs(loss) < 0.02
        assert float(props["auc_loss_error"]) >= abs(loss) / 10 or precision == "fp16"
        metrics = json.loads(props["parity"])
        assert 0 < metrics["max_abs_logit_difference"] < 0.2


@pytest.mark.slow
def test_the_auc_is_that_of_the_evaluation(tmp_path: Path) -> None:
    from particle_transformer.artefact import load_artefact
    from particle_transformer.artefact.run_folder import RunFolder
    from particle_transformer.inference.evaluate import evaluate_run

    train(load_analysis(small_analysis(tmp_path)), tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    metrics, _ = evaluate_run(run)
    loaded = [load_artefact(run.network(fold)) for fold in range(2)]
    networks = {fold: [model] for fold, (model, _) in enumerate(loaded)}
    found = auc_loss(
        run, load_analysis(run.analysis), networks, loaded[0][1], "fp16", progress=lambda *_: None
    )
    assert found["auc"] == pytest.approx(metrics["auc"]["value"], abs=1e-6)


def headers(folder: Path) -> dict[str, str]:
    """Where ONNX Runtime's headers and library are, as variables of make; skips where they are not.

    The Python wheel has the library, under a name that the loader does not look for: `folder` gets links.
    """
    root = Path(os.environ.get("ONNXRUNTIME", "/usr/local"))
    places = [root / "include", root / "include" / "onnxruntime", Path("/usr/include/onnxruntime")]
    include = next((each for each in places if (each / "onnxruntime_cxx_api.h").exists()), None)
    if include is None:
        pytest.skip(
            "no onnxruntime_cxx_api.h: set ONNXRUNTIME to a release of ONNX Runtime for C++"
        )
    library = root / "lib" / "libonnxruntime.so"
    if not library.exists():
        runtime = pytest.importorskip("onnxruntime")
        library = folder / "libonnxruntime.so"
        found = next((Path(runtime.__file__).parent / "capi").glob("libonnxruntime.so*"))
        for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
            (folder / name).symlink_to(found)
    return {"INCLUDE": str(include), "LIBRARY": str(library)}


def as_text(inputs: dict[str, np.ndarray]) -> str:
    blocks = []
    for name, values in inputs.items():
        slots = values.shape[1] if values.ndim == 2 else 1
        numbers = [
            str(int(value)) if values.dtype.kind in "bi" else f"{value:.9g}"
            for value in values.reshape(-1)
        ]
        blocks.append(f"{name} {len(values)} {slots}\n{' '.join(numbers)}\n")
    return "".join(blocks)


@pytest.mark.slow
def test_cpp_gives_the_same(run: RunFolder, tmp_path: Path) -> None:
    variables = headers(tmp_path)
    path = tmp_path / "scorer.onnx"
    export_run(run.path, path)
    session = session_of(path)
    inputs = padded_file(run.path.parent / "s.root", {each.name for each in session.get_inputs()})
    (tmp_path / "events.txt").write_text(as_text(inputs))
    (tmp_path / "Makefile").write_text((CPP / "Makefile").read_text())
    (tmp_path / "score.cpp").write_text((CPP / "score.cpp").read_text())
    make = [
        "make",
        "-s",
        "-C",
        str(tmp_path),
        *(f"{key}={value}" for key, value in variables.items()),
    ]
    subprocess.run(make, check=True)
    done = subprocess.run(
        [tmp_path / "score", path, tmp_path / "events.txt"],
        capture_output=True,
        text=True,
        check=True,
    )
    expected: Any = outputs_of(session, inputs)["score"]
    np.testing.assert_allclose([float(line) for line in done.stdout.split()], expected, atol=1e-6)
