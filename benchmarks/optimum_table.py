"""Shares of the theoretical limit, from the scores of the test events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from particle_transformer.evaluation import Ranking, poisson_bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Scores = NDArray[np.floating]
    Figures = Callable[[NDArray[np.float64]], NDArray[np.float64]]

__all__ = ["summary", "table"]

QUANTITIES = ("auc_above_half", "rejection")
NAMES = {"network": "this network", "xgboost": "XGBoost"}


def figures(score: Scores, is_signal: NDArray[np.bool_]) -> Figures:
    """Takes weights, float64 (events,); gives AUC − ½ and the rejection at 50 % efficiency."""
    ranking = Ranking(score.astype(np.float64), is_signal)
    falling = np.argsort(score, kind="stable")[::-1]
    signal = is_signal[falling]

    def weighted(weight: NDArray[np.float64]) -> NDArray[np.float64]:
        ordered = weight[falling]
        kept = [np.cumsum(np.where(part, ordered, 0)) for part in (signal, ~signal)]
        passed = kept[1][np.searchsorted(kept[0], kept[0][-1] / 2)]
        return np.array([ranking.auc(weight) - 0.5, kept[1][-1] / passed])

    return weighted


def summary(
    scores: Mapping[tuple[str, int], Sequence[Scores]],
    optimum: NDArray[np.float64],
    without_masses: NDArray[np.float64],
    is_signal: NDArray[np.bool_],
    replicas: int,
) -> dict[str, Any]:
    """Figures and shares with their errors.

    Parameters
    ----------
    scores
        Of the test events, (events,) for each seed, by method and number of training events.
    optimum, without_masses
        float64 (events,): logarithm of the likelihood ratio, and what is left of it without the
        masses of pairs.
    is_signal
        bool (events,).
    replicas
        Of the bootstrap, in which all methods see the same events.
    """
    every: dict[Any, list[Figures]] = {
        "optimum": [figures(optimum, is_signal)],
        "without masses of pairs": [figures(without_masses, is_signal)],
        **{key: [figures(score, is_signal) for score in seeds] for key, seeds in scores.items()},
    }

    def values(weight: NDArray[np.float64]) -> dict[Any, NDArray[np.float64]]:
        found = {key: np.array([of(weight) for of in seeds]) for key, seeds in every.items()}
        limit = found["optimum"]
        return {key: np.stack([each, each / limit]) for key, each in found.items()}

    # (value or share, seeds, AUC − ½ or rejection) of all test events, and of the replicas
    nominal = values(np.ones(len(optimum)))
    drawn = poisson_bootstrap(values, len(optimum), replicas=replicas)
    errors = {key: part.mean(2).std(0, ddof=1) for key, part in drawn.items()}

    def described(key: Any) -> dict[str, Any]:
        found = {}
        for column, quantity in enumerate(QUANTITIES):
            for row, kind in enumerate(("", "_share")):
                seeds = nominal[key][row, :, column]
                spread = float(seeds.std(ddof=1)) if len(seeds) > 1 else None
                found[quantity + kind] = {
                    "value": float(seeds.mean()),
                    "error_of_test_events": float(errors[key][row, column]),
                    "spread_of_seeds": spread,
                    "seeds": seeds.tolist(),
                }
        return found

    return {
        "test_events": len(optimum),
        "replicas": replicas,
        "optimum": described("optimum"),
        "without_masses_of_pairs": described("without masses of pairs"),
        "methods": [
            {"method": method, "training_events": events, **described((method, events))}
            for method, events in scores
        ],
    }


def table(results: Mapping[str, Any]) -> str:
    """The results in Markdown: the error of a mean is that of test events and seeds together."""
    lines = [
        "| | training events | seeds | AUC | rejection at 50 % | share of AUC − ½ | of the rejection |",
        "|---|---|---|---|---|---|---|",
        _line("likelihood ratio", "", results["optimum"]),
        _line("the same without the masses of pairs", "", results["without_masses_of_pairs"]),
    ]
    for method in results["methods"]:
        events = f"{method['training_events']:,}".replace(",", " ")
        lines.append(_line(NAMES[method["method"]], events, method))
    return "\n".join(lines)


def _line(name: str, events: str, found: Mapping[str, Any]) -> str:
    seeds = len(found["rejection"]["seeds"]) if events else ""
    auc, rejection = (found[quantity] for quantity in QUANTITIES)
    shares = [found[f"{quantity}_share"] for quantity in QUANTITIES]
    cells = [f"{auc['value'] + 0.5:.4f} ± {_error(auc):.4f}"]
    cells.append(f"{rejection['value']:.2f} ± {_error(rejection):.2f}")
    if name == "likelihood ratio":
        cells += ["100 %", "100 %"]
    else:
        cells += [f"{100 * each['value']:.2f} ± {100 * _error(each):.2f} %" for each in shares]
    return f"| {name} | {events} | {seeds} | {' | '.join(cells)} |"


def _error(figure: Mapping[str, Any]) -> float:
    """Of the mean over the seeds."""
    of_seeds = (figure["spread_of_seeds"] or 0) / np.sqrt(len(figure["seeds"]))
    return float(np.hypot(figure["error_of_test_events"], of_seeds))
