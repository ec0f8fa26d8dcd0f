"""The generator in a process of its own, so that its CPU time is its own, and its memory the load's."""

import gc
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe

import uvloop

from benchmarks.generator.closed_loop import ClosedRun
from benchmarks.generator.load import Load, OpenLoop
from benchmarks.generator.open_loop import OpenRun
from benchmarks.generator.outcome import Outcome


def run_load(load: Load, observe: Callable[[str], None]) -> Outcome:
    """Runs it. ``observe`` is called at the "begin" and at the "end" of the measured time."""
    # A fork inherits the requests as they are; there are no threads here that it could harm.
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_generate, args=(load, theirs))
    process.start()
    theirs.close()
    try:
        while not isinstance(said := ours.recv(), Outcome):
            observe(said)
    except EOFError:
        raise SystemExit("the generator died") from None
    finally:
        process.join(timeout=10)
        process.kill()
        ours.close()
    return said


def _generate(load: Load, pipe: "Pipe[Outcome | str, None]") -> None:
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection would be a pause that the service did not make
    pipe.send(uvloop.run(_measured(load, pipe.send)))


async def _measured(load: Load, announce: Callable[[str], None]) -> Outcome:
    run = (
        OpenRun(load, load.shape, announce)
        if isinstance(load.shape, OpenLoop)
        else ClosedRun(load, announce)
    )
    return await run.measured()
