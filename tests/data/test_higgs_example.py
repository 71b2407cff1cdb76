"""examples/higgs_data.yaml: the factors that give GeV and radians back, against the file's own masses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot

from particle_transformer.config import load_analysis
from particle_transformer.data import Store, prepare

REPOSITORY = Path(__file__).parents[2]
SHARED = REPOSITORY.parent / "shared" / "data"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared files beside the repository")


def test_units(tmp_path: Path) -> None:
    text = (REPOSITORY / "examples" / "higgs_data.yaml").read_text(encoding="utf-8")
    (tmp_path / "higgs_data.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "higgs_root").symlink_to(SHARED / "higgs_root")
    analysis = load_analysis(tmp_path / "higgs_data.yaml")
    events = Store(prepare(analysis, tmp_path / "out")).events()
    with uproot.open(SHARED / "higgs_root" / "Higgs_data.root") as file:
        trees = [file[name].arrays(library="np") for name in ("sig_tree", "bkg_tree")]
    raw = {name: np.concatenate([tree[name] for tree in trees]) for name in trees[0]}
    assert len(events) == 20_000
    assert np.all(np.bincount(events.process) == 10_000)

    # m_lv is the W's transverse mass where that exceeds m_W, whose peak is at 0.985.
    features = list(analysis.event.features)
    pt, angle, met = (
        events.event[:, features.index(name)].astype(np.float64)
        for name in ("log(lepton.pt)", "abs(delta_phi(lepton.phi, met.phi))", "log(met.pt)")
    )
    transverse = np.sqrt(2 * np.exp(pt + met) * (1 - np.cos(angle)))
    heavy = raw["m_lv"] > 1.1
    ratio = transverse[heavy] / raw["m_lv"][heavy]
    assert np.median(ratio) == pytest.approx(80.4 / 0.985, rel=0.005)
    assert np.quantile(np.abs(ratio / np.median(ratio) - 1), 0.9) < 0.002

    # m_bb is the mass of the two tagged jets, up to one factor for all of the six pairs of jets.
    momenta = events.objects["jets"].momenta
    assert momenta is not None
    momenta = momenta.reshape(-1, 4, 4).astype(np.float64)
    names = [f"jet{number}_" for number in range(1, 5)]
    first = np.stack([raw[f"{name}pt"] for name in names], axis=1)
    tagged = np.stack([raw[f"{name}b-tag"] for name in names], axis=1) > 0
    scaled = first * [109.16, 79.44, 56.95, 41.08]
    # The store has the jets in falling pt.
    tagged = np.take_along_axis(tagged, np.argsort(-scaled, axis=1, kind="stable"), axis=1)
    medians = []
    for one in range(4):
        for other in range(one + 1, 4):
            chosen = tagged[:, one] & tagged[:, other] & (tagged.sum(axis=1) == 2)
            total = momenta[chosen, one] + momenta[chosen, other]
            mass = np.sqrt(total[:, 3] ** 2 - np.sum(total[:, :3] ** 2, axis=1))
            medians.append(np.median(mass / raw["m_bb"][chosen]))
    assert max(medians) / min(medians) < 1.02, medians
