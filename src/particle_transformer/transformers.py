"""The network for the transformers library; importing this module registers it there.

>>> import particle_transformer.transformers
>>> from transformers import AutoModel
>>> model = AutoModel.from_pretrained("path/of/a/network")  # doctest: +SKIP

Files are those of `AnalysisObjectTransformer.save_pretrained`, checksums included, in both directions.
No code is ever taken from a repository (``trust_remote_code``): this package is the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from particle_transformer.errors import InputFileError, ModelInputError, require
from particle_transformer.losses.cross_entropy import CrossEntropy
from particle_transformer.model import AnalysisObjectTransformer
from particle_transformer.network_files import (
    MODEL_TYPE,
    NetworkFiles,
    check_config,
    read_network,
    rewrite_network,
)
from particle_transformer.network_files.hub import fetch

require("transformers", "hub")

from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["EventClassification", "EventTransformerConfig", "EventTransformerModel"]

_OF_THE_FILE = ("format_version", "sha256")
_OF_THE_HUB = ("cache_dir", "force_download", "local_files_only", "token")


class EventTransformerConfig(PreTrainedConfig):  # type: ignore[misc]  # untyped library
    """What a network is built from.

    Attributes
    ----------
    arguments
        Those of `AnalysisObjectTransformer`.
    metadata
        What is known of the network besides.
    """

    model_type = MODEL_TYPE

    arguments: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """A configuration of the content of a ``config.json``.

        Raises
        ------
        InputFileError
            If it was altered, or is of another version of the format.
        """
        if "sha256" in config_dict:  # it was read from a network's folder
            check_config(config_dict, "config.json")
        # What holds for the file alone does not become a part of the configuration.
        own = {key: config_dict[key] for key in config_dict if key not in _OF_THE_FILE}
        return super().from_dict(own, **kwargs)


@dataclass
class EventClassification(ModelOutput):  # type: ignore[misc]  # untyped library
    """What the model returns.

    Attributes
    ----------
    loss
        Scalar, where labels were given: the weighted cross-entropy of `CrossEntropy`.
    logits
        (events, outputs).
    """

    loss: Tensor | None = None
    logits: Tensor | None = None


class EventTransformerModel(PreTrainedModel):  # type: ignore[misc]  # untyped library
    """The `AnalysisObjectTransformer` as a model of the transformers library.

    Parameters
    ----------
    config
        Its configuration.

    Raises
    ------
    ModelInputError
        If the configuration has no arguments, or those of the network are wrong.
    """

    config_class = EventTransformerConfig
    base_model_prefix = ""
    main_input_name = "objects"

    def __init__(self, config: EventTransformerConfig) -> None:
        super().__init__(config)
        if not config.arguments:
            message = "arguments: the configuration has none; expected those of the network"
            raise ModelInputError(message)
        network = AnalysisObjectTransformer(**config.arguments)
        network.metadata = config.metadata or {}
        # Both share their weights and the names of them, so that whatever the library and its
        # Trainer save and load are the network's own files.
        self._parameters, self._buffers = network._parameters, network._buffers
        self._modules = network._modules
        self._network = (network,)  # in a tuple: not as a part of its own
        self.post_init()

    @property
    def network(self) -> AnalysisObjectTransformer:
        """The network itself, with the same weights."""
        return self._network[0]

    def forward(
        self,
        objects: Tensor | Mapping[str, Tensor],
        event: Tensor,
        padding_mask: Tensor | Mapping[str, Tensor] | None = None,
        momenta: Tensor | Mapping[str, Tensor] | None = None,
        labels: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> EventClassification:
        """Logits, and the loss where there are labels.

        Parameters
        ----------
        objects, event, padding_mask, momenta
            As in `AnalysisObjectTransformer.forward`.
        labels
            Integers (events,): with one output 1 signal, 0 background; else the index of the class.
        weights
            (events,): signed training weights, 1 on average (`particle_transformer.losses`);
            None: 1 for each.

        Raises
        ------
        ModelInputError
            If a shape or dtype is not what the network was built for.
        """
        logits = self.network(objects, event, padding_mask, momenta=momenta)
        if labels is None:
            return EventClassification(logits=logits)
        weight = torch.ones_like(logits[:, 0]) if weights is None else weights
        return EventClassification(CrossEntropy()(logits, labels, weight), logits)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> Any:
        """Load a network's folder, or a repository of the Hub, once its checksums have been checked.

        Arguments are those of the transformers library; with ``subfolder`` also a network of a run.

        Raises
        ------
        InputFileError
            As `AnalysisObjectTransformer.from_pretrained`.
        """
        hub = {key: kwargs.pop(key) for key in _OF_THE_HUB if key in kwargs}
        folder = fetch(pretrained_model_name_or_path, kwargs.pop("revision", None), **hub)
        folder /= kwargs.pop("subfolder", "")
        read_network(folder)
        kwargs.pop("output_loading_info", None)
        model, info = super().from_pretrained(folder, *args, output_loading_info=True, **kwargs)
        if wrong := [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]]:
            message = f"{folder}: the weights do not fit the arguments in config.json ({wrong[0]})"
            raise InputFileError(message)
        return model

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        """Save the network's files, as `AnalysisObjectTransformer.save_pretrained`, in a folder.

        The folder may hold other things (a `Trainer` keeps its own there); an older network is
        replaced.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        del kwargs  # on sharding, variants and the like: it is one small file
        if is_main_process:
            weights = dict(self.state_dict() if state_dict is None else state_dict)
            network = self.network
            rewrite_network(
                Path(save_directory), NetworkFiles(network.arguments, weights, network.metadata)
            )

    def push_to_hub(self, repo_id: str, private: bool | None = None, **kwargs: Any) -> str:
        """As `AnalysisObjectTransformer.push_to_hub`."""
        del kwargs
        return self.network.push_to_hub(repo_id, private=bool(private))

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Nothing: the network's own initialisation stands."""


AutoConfig.register(MODEL_TYPE, EventTransformerConfig)
AutoModel.register(EventTransformerConfig, EventTransformerModel)
