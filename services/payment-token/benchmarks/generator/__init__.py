"""The load: requests that were made beforehand, sent by one cheap process over kept connections.

It shares the machine with what it measures, so every microsecond that it takes is taken from the service. Nothing is
rendered, encrypted or parsed while it measures, but for the status line and the length of an answer.
"""

from benchmarks.generator.load import ClosedLoop, Kind, Load, OpenLoop, Request, Shape, Target
from benchmarks.generator.outcome import Outcome, Quantiles
from benchmarks.generator.process import run_load

__all__ = [
    "ClosedLoop",
    "Kind",
    "Load",
    "OpenLoop",
    "Outcome",
    "Quantiles",
    "Request",
    "Shape",
    "Target",
    "run_load",
]
