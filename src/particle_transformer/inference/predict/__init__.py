"""Scores written beside input files, into copies of them, or as Parquet."""

from particle_transformer.inference.predict.run import Predicted, predict
from particle_transformer.inference.predict.work import ScoreOptions

__all__ = ["Predicted", "ScoreOptions", "predict"]
