"""Kinematics against the `vector` library, closed forms and hand-computed numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer import kinematics as kin

vector = pytest.importorskip("vector")

ANGLE = st.floats(-1e3, 1e3)
ANGLE_32 = st.floats(-100, 100, width=32)


@pytest.fixture
def momenta() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "pt": rng.exponential(80, 500) + 0.1,
        "eta": rng.uniform(-5, 5, 500),
        "phi": rng.uniform(-np.pi, np.pi, 500),
        "mass": rng.exponential(10, 500),
    }


def test_cartesian_components_agree_with_vector(momenta: dict[str, np.ndarray]) -> None:
    pt, eta, phi, mass = momenta.values()
    reference = vector.array(momenta)
    np.testing.assert_allclose(kin.px(pt, phi), reference.px, rtol=1e-12)
    np.testing.assert_allclose(kin.py(pt, phi), reference.py, rtol=1e-12)
    np.testing.assert_allclose(kin.pz(pt, eta), reference.pz, rtol=1e-12)
    np.testing.assert_allclose(kin.energy(pt, eta, mass), reference.E, rtol=1e-12)


def test_cartesian_and_back(momenta: dict[str, np.ndarray]) -> None:
    pt, eta, phi, mass = momenta.values()
    px, py, pz = kin.px(pt, phi), kin.py(pt, phi), kin.pz(pt, eta)
    np.testing.assert_allclose(kin.pt(px, py), pt, rtol=1e-12)
    np.testing.assert_allclose(kin.eta(px, py, pz), eta, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(kin.phi(px, py), phi, rtol=1e-12, atol=1e-12)
    energy = kin.energy(pt, eta, mass)
    # The mass is what is left of E² − p²: its error is that of E², relative to the mass.
    tolerance = 1e-14 * energy**2 / np.maximum(mass, 1e-3)
    assert (np.abs(kin.mass(px, py, pz, energy) - mass) <= tolerance + 1e-9).all()


def test_pairs_agree_with_vector(momenta: dict[str, np.ndarray]) -> None:
    first, second = ({k: v[i::2] for k, v in momenta.items()} for i in (0, 1))
    a, b = vector.array(first), vector.array(second)
    np.testing.assert_allclose(
        kin.delta_phi(first["phi"], second["phi"]), a.deltaphi(b), atol=1e-12
    )
    np.testing.assert_allclose(
        kin.delta_r(first["eta"], first["phi"], second["eta"], second["phi"]), a.deltaR(b)
    )
    np.testing.assert_allclose(
        kin.pair_mass(*first.values(), *second.values()), (a + b).mass, rtol=1e-9
    )
    np.testing.assert_allclose(
        kin.transverse_mass(first["pt"], first["phi"], second["pt"], second["phi"]),
        np.sqrt(2 * first["pt"] * second["pt"] * (1 - np.cos(a.deltaphi(b)))),
        rtol=1e-7,
    )


def test_numbers_by_hand() -> None:
    assert kin.transverse_mass(40.0, 0.0, 40.0, np.pi) == pytest.approx(80.0)
    assert kin.transverse_mass(30.0, 1.0, 50.0, 1.0) == 0.0
    assert kin.pair_mass(45.6, 0, 0, 0, 45.6, 0, np.pi, 0) == pytest.approx(91.2)
    assert kin.mass(3.0, 4.0, 12.0, 13.0) == 0.0
    assert kin.mass(3.0, 4.0, 0.0, 13.0) == 12.0
    assert kin.pt(3.0, 4.0) == 5.0
    assert kin.eta(3.0, 4.0, 5.0) == pytest.approx(np.log(1 + np.sqrt(2)))
    assert kin.delta_phi(3.0, -3.0) == pytest.approx(6.0 - 2 * np.pi)
    assert kin.delta_r(0.0, 3.0, 0.0, -3.0) == pytest.approx(2 * np.pi - 6.0)


def test_eta_of_special_vectors() -> None:
    eta = kin.eta(np.zeros(3), np.zeros(3), np.array([0.0, 5.0, -5.0]))
    np.testing.assert_array_equal(eta, [0.0, np.inf, -np.inf])
    for zero in (0.0, -0.0):
        assert kin.phi(zero, -0.0) == 0.0
        assert kin.phi(-1.0, zero) == np.pi


def test_negative_mass_squared_from_rounding_is_zero() -> None:
    # A massless particle stored in float32: E is a last digit below |p|.
    pz = np.array([1000.0], np.float32)
    energy = np.nextafter(pz, np.float32(0))
    zero = np.zeros(1, np.float32)
    assert kin.mass(zero, zero, pz, energy) == 0


@given(ANGLE, ANGLE)
def test_delta_phi_is_the_angle_in_its_range(phi1: float, phi2: float) -> None:
    difference = float(kin.delta_phi(phi1, phi2))
    assert -np.pi < difference <= np.pi
    assert np.cos(difference) == pytest.approx(np.cos(phi1 - phi2), abs=1e-9)
    assert np.sin(difference) == pytest.approx(np.sin(phi1 - phi2), abs=1e-9)


@given(ANGLE_32, ANGLE_32)
def test_delta_phi_keeps_its_range_in_float32(phi1: float, phi2: float) -> None:
    difference = kin.delta_phi(np.array([phi1], np.float32), np.array([phi2], np.float32))
    assert difference.dtype == np.float32
    assert -np.float32(np.pi) < difference[0] <= np.float32(np.pi)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_delta_phi_at_the_seam(dtype: Any) -> None:
    pi = dtype(np.pi)
    zero = dtype(0)
    around = [pi, -pi, np.nextafter(pi, zero), np.nextafter(-pi, zero)]
    around += [np.nextafter(pi, 2 * pi), np.nextafter(-pi, -2 * pi)]
    wrapped = kin.delta_phi(np.array(around, dtype), 0.0)
    assert (wrapped > -pi).all()
    assert (wrapped <= pi).all()
    assert wrapped[0] == wrapped[1] == pi
    np.testing.assert_array_equal(wrapped[2:4], around[2:4])


@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(-np.pi, np.pi))
def test_delta_r_does_not_change_under_rotation(eta: float, phi: float, angle: float) -> None:
    here = kin.delta_r(eta, phi, 0.3, 0.7)
    assert kin.delta_r(eta, phi + angle, 0.3, 0.7 + angle) == pytest.approx(float(here), abs=1e-9)


def test_float32_stays_float32_beside_plain_numbers() -> None:
    pt, eta, phi, mass = (np.array([x], np.float32) for x in (50, 1.5, 0.5, 10))
    results = [
        kin.px(pt, phi), kin.py(pt, 0.5), kin.pz(pt, eta), kin.energy(pt, eta, 0.1),
        kin.pt(pt, 1.0), kin.eta(pt, 1.0, 2.0), kin.phi(pt, 1.0), kin.mass(pt, 1.0, 2.0, 1e3),
        kin.delta_r(eta, phi, 0.0, 0.0), kin.delta_r(eta, 0.5, 0.2, 0.7), kin.px(50.0, phi),
        kin.transverse_mass(pt, 1.0, 30.0, 2.0), kin.energy(50.0, eta, 1), kin.pz(pt, 2),
        kin.transverse_mass(pt, phi, 30.0, 1.0),
        kin.pair_mass(pt, eta, phi, mass, 40.0, 0.0, 0.0, 0.0),
    ]  # fmt: skip
    assert {result.dtype for result in results} == {np.dtype(np.float32)}


def test_nothing_goes_in_nothing_comes_out() -> None:
    empty = np.zeros(0, np.float32)
    assert kin.mass(empty, empty, empty, empty).shape == (0,)
    assert kin.delta_r(empty, empty, empty, empty).shape == (0,)
