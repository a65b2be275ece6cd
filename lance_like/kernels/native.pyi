# The functions of plain.py, which says what they do.
import numpy as np

def unpack(words: np.ndarray, width: int, lanes: int, base: int, out: np.ndarray) -> None: ...
def within(words: np.ndarray, width: int, lanes: int, low: int, high: int, out: np.ndarray) -> None: ...
def pick(
    words: np.ndarray, width: int, lanes: int, rows: np.ndarray, skip: int, base: int, out: np.ndarray
) -> None: ...
def widen(data: np.ndarray, stride: int, base: int, out: np.ndarray) -> None: ...
def lines(data: np.ndarray, stride: int, out: np.ndarray) -> None: ...
def spell(
    codes: np.ndarray,
    bits: int,
    symbols: bytes,
    skip: int,
    cell: bytes,
    places: np.ndarray,
    rows: np.ndarray | None,
    out: np.ndarray,
) -> None: ...
def spread(values: np.ndarray, bits: np.ndarray, skip: int, out: np.ndarray) -> None: ...
def divide(numbers: np.ndarray, power: float, out: np.ndarray) -> None: ...
def unblock(
    data: np.ndarray, sizes: np.ndarray, rows: int, stride: int, offsets: np.ndarray, cells: np.ndarray
) -> None: ...
def learn(data: np.ndarray, offsets: np.ndarray, lengths: np.ndarray, symbols: np.ndarray) -> int: ...
def parse(
    data: np.ndarray,
    offsets: np.ndarray,
    lengths: np.ndarray,
    symbols: np.ndarray,
    out: np.ndarray,
    ends: np.ndarray,
) -> int: ...
def measure(
    packed: np.ndarray, starts: np.ndarray, ends: np.ndarray, lengths: np.ndarray, offsets: np.ndarray
) -> None: ...
def unfold(
    packed: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    lengths: np.ndarray,
    symbols: np.ndarray,
    out: np.ndarray,
) -> None: ...
