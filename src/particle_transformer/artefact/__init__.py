"""What is deployed: weights and configuration, without pickle."""

from particle_transformer.artefact.folder import FORMAT_VERSION, load_artefact, save_artefact

__all__ = ["FORMAT_VERSION", "load_artefact", "save_artefact"]
