"""Independent evaluations on several cores, with results that do not depend on their number.

Threads, because the work of a large model is done by NumPy, SciPy and Numba, which let go of the interpreter. BLAS gets
one thread meanwhile: the matrices here are small, and its threads, which wait for work in a busy loop, make fits take
twice the time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context

from threadpoolctl import threadpool_limits

MOST = 4
"""Cores used by default, as in `pm.sample`"""
WORTH_THREADS = 3000
"""Latents and linear predictors from which threads pay: below, Python is busier than the numerics, and threads wait for
each other (a fifth more CPU time, and no less of anything else)"""
_cores: ContextVar[int] = ContextVar("cores", default=1)


def available_cores() -> int:
    """Cores that this process may run on, at most MOST."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return min(MOST, len(affinity(0)) if affinity else os.cpu_count() or 1)


@contextmanager
def on_cores(n: int) -> Iterator[None]:
    """Let `map_in_order` use n threads in this context, and BLAS one."""
    token = _cores.set(n)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        _cores.reset(token)


def suit_cores(size: int) -> None:
    """Stay with one thread from here to the end of `on_cores` where a model has no more latents and linear predictors
    than are worth it."""
    if size < WORTH_THREADS:
        _cores.set(1)


def map_in_order(function: Callable, items: Iterable) -> Iterator:
    """function(item) for every item, in their order. What an item maps itself runs in its own thread."""
    items = list(items)
    n = min(_cores.get(), len(items))
    if n < 2:
        yield from map(function, items)
        return
    # threads start with settings of their own (numpy.errstate among them) unless they are given these
    contexts = [copy_context() for _ in items]
    for context in contexts:
        context.run(_cores.set, 1)
    with ThreadPoolExecutor(n) as pool:
        futures = [pool.submit(context.run, function, item) for context, item in zip(contexts, items, strict=True)]
        for k in range(len(futures)):
            yield futures[k].result()
            futures[k] = None  # a result that has been used is let go
