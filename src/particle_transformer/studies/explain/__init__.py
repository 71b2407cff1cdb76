"""Why the networks of a run decide as they do."""

from particle_transformer.studies.explain.run import explain

__all__ = ["explain"]
