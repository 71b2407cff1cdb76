"""Run jobs as a program does: the name of a task function, an address, and a folder."""

from __future__ import annotations

import sys

from cluster import tasks
from cluster.tasks import Job
from particle_transformer.distributed import DaskRunner, connect


def main() -> None:
    function, address, folder = sys.argv[1:]
    with connect(address) as client:
        jobs = [Job(str(number), folder, seconds=0.2) for number in range(1000)]
        for index, _ in DaskRunner(client)(getattr(tasks, function), jobs):
            print(index, flush=True)


if __name__ == "__main__":
    main()
