"""Temporary arrays that stay in the heap.

glibc maps blocks above a threshold from the system and hands them back when they are freed, so that every temporary of
a few megabytes is paged in again, which costs more than the arithmetic on it. The threshold follows the largest mapped
block that has been freed, up to 32 MB (mallopt(3), M_MMAP_THRESHOLD), and twice that may stay at the top of the heap.
"""

import ctypes
import sys

import numpy as np

LARGEST = 32 * 2**20 - 2**16
"""Bytes: just below the largest threshold"""


def keep_temporaries() -> None:
    """Raise the threshold at once. The block is never touched: this takes microseconds and no memory, and does nothing
    under other allocators."""
    np.empty(LARGEST, dtype=np.uint8)


def release_temporaries() -> None:
    """Hand what has been freed back to the system, before something large is made that is not temporary. Takes 20
    milliseconds or more; does nothing under other allocators."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
