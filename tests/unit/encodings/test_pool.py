"""Memory to decode into: used again once nobody refers to it, and never before."""

import gc

import numpy as np
import pyarrow as pa

from lance_like.encodings import pool

ROWS = 1 << 20


def _address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_memory_that_nobody_refers_to_is_used_again():
    array = pool.allocate(ROWS, np.int64)
    address = _address(array)
    del array
    assert _address(pool.allocate(ROWS - 1000, np.int64)) == address


def test_memory_is_in_use_while_an_arrow_array_refers_to_it():
    array = pool.allocate(ROWS, np.int64)
    address = _address(array)
    array[:] = 7
    column = pa.Array.from_buffers(pa.int64(), ROWS, [None, pa.py_buffer(array.view(np.uint8))]).slice(5, 10)
    del array
    others = [pool.allocate(ROWS, np.int64) for _ in range(3)]
    for other in others:
        other[:] = 0
    assert address not in map(_address, others)
    assert column.to_pylist() == [7] * 10


def test_kept_memory_has_a_limit():
    arrays = [pool.allocate(ROWS, np.int64) for _ in range(20)]
    arrays.append(pool.allocate(32 * ROWS, np.int64))
    arrays.clear()
    gc.collect()
    assert 0 < sum(buffer.size for buffer in pool._kept.values()) <= 64 << 20
