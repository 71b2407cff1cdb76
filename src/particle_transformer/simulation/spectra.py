"""Supersymmetric mass spectra and decay tables in the SUSY Les Houches Accord (hep-ph/0311123).

Simplified models (arXiv:1105.2838): one kind of strongly interacting particle is within reach and
decays into quarks and the lightest neutralino; every other superpartner is decoupled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["LIGHT_SQUARKS", "LSP", "LSP_MASS", "STOP", "gluino", "light_squarks", "stop"]

LSP = 1_000_022
"""PDG code of the lightest neutralino: stable and unseen."""

LSP_MASS = 100.0
"""Mass of the lightest neutralino in every spectrum, GeV."""

GLUINO, STOP = 1_000_021, 1_000_006

LIGHT_SQUARKS = tuple(side + flavour for side in (1_000_000, 2_000_000) for flavour in range(1, 5))
"""PDG codes of the superpartners of d, u, s and c, left and right."""

_DECOUPLED = 10_000.0  # GeV: out of reach of the beams, and without effect as exchanged particle
_OTHERS = (
    *LIGHT_SQUARKS,
    *(1_000_005, STOP, 2_000_005, 2_000_006),  # bottom and top squarks
    *(1_000_011, 1_000_013, 1_000_015, 2_000_011, 2_000_013, 2_000_015),  # sleptons
    *(1_000_012, 1_000_014, 1_000_016),  # sneutrinos
    *(GLUINO, 1_000_023, 1_000_025, 1_000_035, 1_000_024, 1_000_037),  # gluino, -inos
    *(35, 36, 37),  # Higgs bosons
)
_MIXINGS = {"NMIX": 4, "UMIX": 2, "VMIX": 2, "STOPMIX": 2, "SBOTMIX": 2, "STAUMIX": 2}

# Branching fraction and decay products.
_Channels = tuple[tuple[float, tuple[int, ...]], ...]


def gluino(mass: float) -> str:
    """Gluino of this mass in GeV, g̃ → qq̄χ̃⁰₁ in equal parts to d, u, s, c and b."""
    channels = tuple((0.2, (quark, -quark, LSP)) for quark in range(1, 6))
    return _spectrum([GLUINO], mass, {GLUINO: channels})


def light_squarks(mass: float) -> str:
    """Eight squarks of this mass in GeV (superpartners of d, u, s, c; left and right), q̃ → qχ̃⁰₁."""
    return _spectrum(
        LIGHT_SQUARKS, mass, {code: ((1.0, (code % 10, LSP)),) for code in LIGHT_SQUARKS}
    )


def stop(mass: float) -> str:
    """Lighter top squark of this mass in GeV, t̃₁ → tχ̃⁰₁."""
    return _spectrum([STOP], mass, {STOP: ((1.0, (6, LSP)),)})


def _spectrum(light: Sequence[int], mass: float, decays: Mapping[int, _Channels]) -> str:
    """The text of an SLHA file."""
    masses = dict.fromkeys(_OTHERS, _DECOUPLED) | {25: 125.0, LSP: LSP_MASS}
    masses |= dict.fromkeys(light, mass)
    lines = ["BLOCK MODSEL", " 1 0", "BLOCK MASS"]
    lines += [f" {code} {value:.6e}" for code, value in masses.items()]
    # Unmixed states: the lightest neutralino is a bino, the lighter stop is left-handed.
    for name, size in _MIXINGS.items():
        lines.append(f"BLOCK {name}")
        lines += [
            f" {row} {column} {float(row == column):.1f}"
            for row in range(1, size + 1)
            for column in range(1, size + 1)
        ]
    lines += ["BLOCK ALPHA", " -0.1", "BLOCK HMIX Q= 1000.0", " 1 500.0", " 2 10.0"]
    for code, channels in decays.items():
        lines.append(f"DECAY {code} 1.000000e+00")  # a width of 1 GeV: prompt and narrow
        lines += [
            f" {fraction:.8f} {len(products)} {' '.join(map(str, products))}"
            for fraction, products in channels
        ]
    lines.append(f"DECAY {LSP} 0.000000e+00")
    return "\n".join(lines) + "\n"
