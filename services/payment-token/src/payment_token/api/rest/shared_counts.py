"""One count for all processes that serve the same listeners: whoever is asked answers with the sum.

prometheus_client does it with a memory-mapped file for each process, in the folder that the parent made.
"""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def count_as(process: int) -> None:
    """This process counts on in the file of its number. Called before anything counts.

    By its number rather than its process id: the one that replaces it finds the file, so that no sum ever falls, and
    there are never more files than processes.
    """
    shared = values.MultiProcessValue(lambda: process)  # type: ignore[no-untyped-call]
    values.ValueClass = shared


def forget_gauges(folder: Path, process: int) -> None:
    """What a process measured of itself while it lived is not true of it any more. Counts stay."""
    mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]


def of_all_processes(own: CollectorRegistry) -> CollectorRegistry:
    """``own`` where this process counts alone."""
    folder = os.environ.get(FOLDER)
    if folder is None:
        return own
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    return registry
