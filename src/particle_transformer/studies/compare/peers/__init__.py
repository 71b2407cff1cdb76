"""Networks that the AnalysisObjectTransformer is compared with, trained by the same loop."""

from particle_transformer.studies.compare.peers.deep_sets import DeepSetsNetwork
from particle_transformer.studies.compare.peers.dense import DenseNetwork
from particle_transformer.studies.compare.peers.part import PartNetwork
from particle_transformer.studies.compare.peers.peer import Peer
from particle_transformer.studies.compare.peers.published import PublishedNetwork

__all__ = ["DeepSetsNetwork", "DenseNetwork", "PartNetwork", "Peer", "PublishedNetwork"]
