"""Augmentation in the analysis file: what the features are under it, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from particle_transformer.config import (
    Analysis,
    dump_analysis,
    feature_symmetries,
    load_analysis,
    parse_analysis,
)
from particle_transformer.errors import AnalysisFileError

EXAMPLES = Path(__file__).parents[2] / "examples"
EVERY = ["flip_eta", "flip_phi", "rotate_phi"]


def analysis(
    features: list[str],
    augmentation: Any = EVERY,
    *,
    event: list[str] | None = None,
    spectators: list[str] | None = None,
    define: dict[str, str] | None = None,
    fields: dict[str, str] | None = None,
    aliases: dict[str, str] | None = None,
) -> Analysis:
    data = {
        "name": "demo",
        "eras": {"one": {"luminosity": 1, "aliases": aliases or {}}},
        "processes": {
            "sig": {"class": "signal", "cross_section": 1, "files": {"one": "s.root"}},
            "bkg": {"class": "top", "cross_section": 1, "files": {"one": "b.root"}},
        },
        "objects": {"jets": {"collection": "Jet", "features": features, "fields": fields or {}}},
        "event": {"define": define or {}, "features": event or [], "spectators": spectators or []},
        "training": {"augmentation": augmentation},
    }
    return parse_analysis(data, base=Path("/base"))


def behaviour(feature: str, **options: Any) -> tuple[int | None, ...]:
    found = feature_symmetries(analysis([feature], [], **options)).objects["jets"][0]
    return found.sign("flip_eta"), found.sign("flip_phi"), found.turns


MET = {"met.pt": "MET_pt", "met.phi": "MET_phi"}
ODD_PHI, ANGLE, SCALAR, UNKNOWN = (1, -1, 0), (1, -1, 1), (1, 1, 0), (None, None, None)


@pytest.mark.parametrize(
    ("feature", "options", "expected"),
    [
        ("eta", {}, (-1, 1, 0)),
        ("delta_phi(phi, met.phi)", {"define": MET}, ODD_PHI),
        ("delta_phi(phi, met.phi)", {"define": {"met.phi": "phi(MET_px, MET_py)"}}, ODD_PHI),
        ("phi", {"fields": {"phi": "phi(Px, Py)"}}, ANGLE),
        ("phi", {"fields": {"phi": "arctan2(sin_phi, cos_phi)"}}, ANGLE),
        ("phi", {"fields": {"phi": "raw_phi_of_jets"}}, ANGLE),  # a plain branch
        ("phi", {"fields": {"phi": "2 * raw_phi_of_jets"}}, UNKNOWN),
        ("phi", {"fields": {"phi": "phi"}}, ANGLE),
        ("eta", {"fields": {"eta": "abs(eta)"}}, SCALAR),
        ("where", {"fields": {"where": "eta"}}, (-1, 1, 0)),
        ("etag", {}, UNKNOWN),
        ("electron", {"fields": {"electron": "etag"}}, SCALAR),  # renamed, it has no direction
        ("score", {"aliases": {"score": "Jet_eta"}}, (-1, 1, 0)),
        ("phi", {"aliases": {"phi": "phi_corrected"}}, ANGLE),
        ("leading(jets.eta, 0)", {"fields": {"eta": "-eta"}}, (-1, 1, 0)),
        ("lead", {"define": {"lead": "leading(jets.phi, met.phi)", **MET}, "fields": {}}, UNKNOWN),
        ("shared", {"define": {"shared": "sum(jets.pt)"}}, SCALAR),
        ("count(jets)", {}, SCALAR),
        ("a", {"fields": {"a": "b", "b": "a"}}, UNKNOWN),
    ],
)
def test_names_are_followed(
    feature: str, options: dict[str, Any], expected: tuple[int | None, ...]
) -> None:
    # `lead` may be the branch Jet_lead, a number without direction, or the quantity: an angle.
    assert behaviour(feature, **options) == expected


def test_a_long_chain_of_definitions_is_followed() -> None:
    define = {f"q{n}": f"-q{n - 1}" for n in range(1, 3001)} | {"q0": "sum(jets.eta)"}
    found = feature_symmetries(analysis(["pt"], [], define=define, event=["q3000", "q2999"]))
    assert [feature.sign("flip_eta") for feature in found.event] == [-1, -1]


@pytest.mark.parametrize("name", ["nanoaod", "delphes", "hep_tutorial"])
def test_examples_allow_every_augmentation(name: str) -> None:
    data = load_analysis(EXAMPLES / f"{name}.yaml").model_dump(mode="json", by_alias=True)
    data = {key: value for key, value in data.items() if value is not None}
    data["training"]["augmentation"] = EVERY
    assert parse_analysis(data, base=EXAMPLES).training.augmentation == tuple(EVERY)


def test_invariant_spectators_are_allowed_and_without_augmentation_any() -> None:
    allowed = ["met.pt", "abs(sum(jets.eta))", "count(jets)", "gen_mass"]
    found = analysis(["eta"], spectators=allowed, define=MET)
    assert found.event.spectators == tuple(allowed)
    assert analysis(["eta"], [], spectators=["met.phi"], define=MET).event.spectators == (
        "met.phi",
    )


def test_read_dumped_and_read_again(tmp_path: Path) -> None:
    first = analysis(["eta"], "flip_eta")
    assert first.training.augmentation == ("flip_eta",)
    (tmp_path / "analysis.yaml").write_text(dump_analysis(first))
    assert load_analysis(tmp_path / "analysis.yaml") == first


@pytest.mark.parametrize(
    ("features", "chosen", "options", "message"),
    [
        (["pt", "exp(eta)"], EVERY, {},
         (r"training.augmentation: got flip_eta, but objects.jets.features.1, 'exp\(eta\)', is as "
         r"far as is known neither even nor odd under eta -> -eta; write it with abs\(eta\), or "
         r"drop flip_eta$")),
        (["delta_phi(phi, 1)"], ["flip_phi"], {},
         r"neither even nor odd under phi -> -phi; write it with abs\(delta_phi\(...\)\), or drop"),
        (["pt"], ["flip_eta", "rotate_phi"], {"event": ["cos(met.phi)"], "define": MET},
         (r"got rotate_phi, but event.features.0, 'cos\(met.phi\)', is as far as is known neither "
         r"an invariant of a rotation phi -> phi \+ alpha nor an angle in \[-pi, pi\]; write it "
         r"with delta_phi\(...\), or drop rotate_phi$")),
        (["abs(vertex)"], ["flip_eta"], {"define": {"vertex": "sum(jets.dz) + 1"}},
         (r"'abs\(vertex\)', reads 'dz', whose behaviour is not known; if it has no direction give "
         r"it another name under fields or event.define, else drop flip_eta$")),
        (["eta"], EVERY, {"spectators": ["sum(jets.pt)", "sum(jets.eta)"]},
         (r"got flip_eta, but event.spectators.1, 'sum\(jets.eta\)', is as far as is known not even "
         r"under eta -> -eta, and spectators are not transformed; write it with abs\(eta\), or drop "
         r"flip_eta$")),
        (["eta"], EVERY, {"spectators": ["delta_phi(met.phi, leading(jets.phi, 0))"], "define": MET},
         r"got flip_phi, but event.spectators.0, .*, is as far as is known not even under phi -> -phi"),
        (["phi"], ["flip_eta", "rotate_phi"], {"spectators": ["met.phi"], "define": MET},
         (r"got rotate_phi, but event.spectators.0, 'met.phi', is as far as is known no invariant of "
         r"a rotation phi -> phi \+ alpha, and spectators are not transformed; write it with "
         r"delta_phi\(...\), or drop rotate_phi$")),
        (["eta"], ["flip_phi"], {"spectators": ["gen_phi * 2"]},
         r"event.spectators.0, 'gen_phi \* 2', reads 'gen_phi', whose behaviour is not known; if"),
        (["eta"], ["flip_et"], {}, r"training.augmentation.0: got 'flip_et', expected 'flip_eta', "),
        (["eta"], ["flip_eta", "flip_eta"], {}, r"augmentation: flip_eta is given twice"),
        (["eta"], 3, {}, r"training.augmentation: got 3, expected a list"),
    ],
)  # fmt: skip
def test_refusals(features: list[str], chosen: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnalysisFileError, match=message) as caught:
        analysis(features, chosen, **options)
    assert "\n" not in str(caught.value)
