"""What is deployed: networks with what is known of them, and the run directory."""

from particle_transformer.artefact.folder import load_artefact, save_artefact
from particle_transformer.network_files import FORMAT_VERSION

__all__ = ["FORMAT_VERSION", "load_artefact", "save_artefact"]
