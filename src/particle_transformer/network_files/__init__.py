"""The folder of one network, as files: no pickle, with checksums; from and to the Hugging Face Hub."""

from particle_transformer.network_files.folder import (
    FORMAT_VERSION,
    MODEL_TYPE,
    NetworkFiles,
    check_config,
    read_network,
    rewrite_network,
    write_network,
)

__all__ = [
    "FORMAT_VERSION",
    "MODEL_TYPE",
    "NetworkFiles",
    "check_config",
    "read_network",
    "rewrite_network",
    "write_network",
]
