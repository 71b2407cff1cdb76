"""Many files on many machines: tasks on a Dask cluster.

Importing this loads no Dask; connecting needs the extra ``dask``.
"""

from particle_transformer.distributed.cluster import connect
from particle_transformer.distributed.runner import DaskRunner

__all__ = ["DaskRunner", "connect"]
