"""The fit of the evaluation section: defaults, and names that the analysis does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from particle_transformer.config import Analysis, dump_analysis, load_analysis, parse_analysis
from particle_transformer.errors import AnalysisFileError


def analysis(**evaluation: Any) -> Analysis:
    processes = {"ttH": "signal", "TTbar": "background", "ZToNuNu": "background", "MET": "data"}
    data = {
        "name": "demo",
        "luminosity": 1,
        "processes": {
            name: {"class": kind, "files": [f"{name}.root"]}
            | ({} if kind == "data" else {"cross_section": 1})
            for name, kind in processes.items()
        },
        "objects": {"jets": {"collection": "Jet", "features": ["pt"]}},
        "regions": {
            "signal": {"select": "count(jets) > 5", "role": "signal"},
            "one_electron": {"select": "count(jets) < 3", "role": "control"},
            "few_jets": {"select": "count(jets) == 4", "role": "validation"},
            "two_muons": {"select": "count(jets) == 3", "role": "control"},
        },
        "evaluation": evaluation,
    }
    return parse_analysis(data, base=Path("/base"))


def test_by_default_all_regions_are_fitted_and_every_background_is_uncertain() -> None:
    found = analysis(background_uncertainty=0.2)
    assert found.fit_regions == ("signal", "one_electron", "two_muons")
    assert found.fit_normalisation == {"TTbar": 0.2, "ZToNuNu": 0.2}
    assert analysis(background_uncertainty=0).fit_normalisation == {}


def test_what_is_declared_takes_the_place_of_the_default() -> None:
    limit = {"free": ["TTbar"], "normalisation": {"ttH": 0.3}, "regions": ["two_muons", "signal"]}
    found = analysis(limit=limit)
    assert found.fit_regions == ("signal", "two_muons")
    assert found.fit_normalisation == {"ZToNuNu": 0.1, "ttH": 0.3}
    known = analysis(limit={"normalisation": {"ZToNuNu": 0, "TTbar": 0.05}})
    assert known.fit_normalisation == {"TTbar": 0.05}


def test_the_resolved_file_says_the_same(tmp_path: Path) -> None:
    found = analysis(limit={"free": ["TTbar"], "normalisation": {"ZToNuNu": 0}, "level": 0.9})
    path = tmp_path / "analysis.yaml"
    path.write_text(dump_analysis(found))
    assert load_analysis(path) == found


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (
            {"regions": ["signal", "one_elektron"]},
            (
                "evaluation.limit.regions: got 'one_elektron', expected a region of role signal or "
                "control; nearest: one_electron"
            ),
        ),
        (
            {"regions": ["signal", "few_jets"]},
            (
                "evaluation.limit.regions: got 'few_jets', expected a region of role signal or "
                "control; known: one_electron, signal, two_muons"
            ),
        ),
        (
            {"regions": ["two_muons"]},
            (
                "evaluation.limit.regions: got two_muons, of which none has role: signal; expected at "
                "least one of signal"
            ),
        ),
        (
            {"free": ["TTBar"]},
            "evaluation.limit.free: got 'TTBar', expected a background process; nearest: TTbar",
        ),
        (
            {"free": ["ttH"]},
            "evaluation.limit.free: got 'ttH', expected a background process; nearest: TTbar",
        ),
        (
            {"normalisation": {"ZtoNuNU": 0.1}},
            (
                "evaluation.limit.normalisation.ZtoNuNU: unknown process; expected a simulated one; "
                "nearest: ZToNuNu"
            ),
        ),
        (
            {"normalisation": {"MET": 0.1}},
            (
                "evaluation.limit.normalisation.MET: unknown process; expected a simulated one; "
                "known: TTbar, ZToNuNu, ttH"
            ),
        ),
        (
            {"free": ["TTbar"], "normalisation": {"TTbar": 0.1}},
            (
                "evaluation.limit.normalisation.TTbar: TTbar is in free, too, where the fit "
                "determines its normalisation; expected one of the two"
            ),
        ),
        (
            {"normalisation": {"TTbar": -0.1}},
            "evaluation.limit.normalisation.TTbar: got -0.1, expected a number >= 0",
        ),
        ({"level": 1}, "evaluation.limit.level: got 1, expected a number < 1"),
        ({"minimal_background": 2}, "nearest: minimum_background"),
    ],
)
def test_a_mistake_is_one_line(limit: dict[str, Any], message: str) -> None:
    with pytest.raises(AnalysisFileError) as caught:
        analysis(limit=limit)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
