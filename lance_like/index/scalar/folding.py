"""Texts without upper and lower case (format_spec/index/ngram.md, "Folding").

Each character becomes the simple lower case of its simple upper case in Unicode 14.0, frozen here: a character that a
later Unicode gives a case to stays as it is, whatever Python reads it. Two characters that ILIKE takes for each other,
or a regular expression that ignores case, become the same.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lance_like.errors import InvalidInput
from lance_like.typing_ import Bytes, Int64s

# FIRST+COUNTxSTEP:SHIFT, the first in hexadecimal, the others in decimal: so many characters, each `step` after the one
# before, become the one `shift` after them. No count is one character, no step is 1.
_SHIFTS = """
    41+26:32 b5:775 c0+23:32 d8+7:32 100+24x2:1 130:-199 131:-200 132+3x2:1 139+8x2:1 14a+23x2:1 178:-121 179+3x2:1
    17f:-268 181:210 182+2x2:1 186:206 187:1 189+2:205 18b:1 18e:79 18f:202 190:203 191:1 193:205 194:207 196:211
    197:209 198:1 19c:211 19d:213 19f:214 1a0+3x2:1 1a6:218 1a7:1 1a9:218 1ac:1 1ae:218 1af:1 1b1+2:217 1b3+2x2:1
    1b7:219 1b8+2x4:1 1c4:2 1c5:1 1c7:2 1c8:1 1ca:2 1cb+9x2:1 1de+9x2:1 1f1:2 1f2+2x2:1 1f6:-97 1f7:-56 1f8+20x2:1
    220:-130 222+9x2:1 23a:10795 23b:1 23d:-163 23e:10792 241:1 243:-195 244:69 245:71 246+5x2:1 345:116 370+2x2:1
    376:1 37f:116 386:38 388+3:37 38c:64 38e+2:63 391+17:32 3a3+9:32 3c2:1 3cf:8 3d0:-30 3d1:-25 3d5:-15 3d6:-22
    3d8+12x2:1 3f0:-54 3f1:-48 3f4:-60 3f5:-64 3f7:1 3f9:-7 3fa:1 3fd+3:-130 400+16:80 410+32:32 460+17x2:1 48a+27x2:1
    4c0:15 4c1+7x2:1 4d0+48x2:1 531+38:48 10a0+38:7264 10c7:7264 10cd:7264 13a0+80:38864 13f0+6:8 1c80:-6222
    1c81:-6221 1c82:-6212 1c83+2:-6210 1c85:-6211 1c86:-6204 1c87:-6180 1c88:35267 1c90+43:-3008 1cbd+3:-3008
    1e00+75x2:1 1e9b:-58 1e9e:-7615 1ea0+48x2:1 1f08+8:-8 1f18+6:-8 1f28+8:-8 1f38+8:-8 1f48+6:-8 1f59+4x2:-8
    1f68+8:-8 1f88+8:-8 1f98+8:-8 1fa8+8:-8 1fb8+2:-8 1fba+2:-74 1fbc:-9 1fbe:-7173 1fc8+4:-86 1fcc:-9 1fd8+2:-8
    1fda+2:-100 1fe8+2:-8 1fea+2:-112 1fec:-7 1ff8+2:-128 1ffa+2:-126 1ffc:-9 2126:-7517 212a:-8383 212b:-8262 2132:28
    2160+16:16 2183:1 24b6+26:26 2c00+48:48 2c60:1 2c62:-10743 2c63:-3814 2c64:-10727 2c67+3x2:1 2c6d:-10780
    2c6e:-10749 2c6f:-10783 2c70:-10782 2c72+2x3:1 2c7e+2:-10815 2c80+50x2:1 2ceb+2x2:1 2cf2:1 a640+23x2:1 a680+14x2:1
    a722+7x2:1 a732+31x2:1 a779+2x2:1 a77d:-35332 a77e+5x2:1 a78b:1 a78d:-42280 a790+2x2:1 a796+10x2:1 a7aa:-42308
    a7ab:-42319 a7ac:-42315 a7ad:-42305 a7ae:-42308 a7b0:-42258 a7b1:-42282 a7b2:-42261 a7b3:928 a7b4+8x2:1 a7c4:-48
    a7c5:-42307 a7c6:-35384 a7c7+2x2:1 a7d0:1 a7d6+2x2:1 a7f5:1 ff21+26:32 10400+40:40 104b0+36:40 10570+11:39
    1057c+15:39 1058c+7:39 10594+2:39 10c80+51:64 118a0+32:32 16e40+32:32 1e900+34:34
"""
_ASCII = np.arange(256, dtype=np.uint8)
_ASCII[ord("A") : ord("Z") + 1] += ord("a") - ord("A")


def folded(data: Bytes, offsets: Int64s) -> tuple[Bytes, Int64s]:
    """Texts as UTF-8, folded. data: their bytes end to end; offsets: int64[n + 1], where each begins, from 0 on.

    Raises InvalidInput for bytes that are not UTF-8.
    """
    if not (data & 0x80).any():
        return _ASCII[data], offsets
    try:
        characters = np.frombuffer(data.tobytes().decode().encode("utf-32-le"), np.uint32)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"a text is not UTF-8: {error}", kind="type") from error
    table = _table()
    known = np.minimum(characters, len(table) - 1)
    characters = np.where(characters < len(table), table[known], characters)
    # Where texts begin, counted in characters: bytes 10xxxxxx go on with the one before.
    before = np.concatenate([[0], np.cumsum((data & 0xC0) != 0x80)])
    nbytes = np.concatenate([[0], np.cumsum(1 + (characters > 0x7F) + (characters > 0x7FF) + (characters > 0xFFFF))])
    text = characters.astype("<u4").tobytes().decode("utf-32-le")
    return np.frombuffer(text.encode(), np.uint8), nbytes[before[offsets]]


def folded_text(text: str) -> bytes:
    """One text as UTF-8, folded."""
    data = np.frombuffer(text.encode(), np.uint8)
    return folded(data, np.array([0, len(data)]))[0].tobytes()


@lru_cache(maxsize=1)
def _table() -> np.ndarray:
    """uint32: what each character up to the last one of the shifts becomes."""
    places, shifts = [], []
    for entry in _SHIFTS.split():
        head, _, shift = entry.partition(":")
        first, _, rest = head.partition("+")
        count, _, step = rest.partition("x")
        places.append(int(first, 16) + np.arange(int(count or 1)) * int(step or 1))
        shifts.append(np.full(len(places[-1]), int(shift)))
    found = np.concatenate(places)
    table = np.arange(found.max() + 2, dtype=np.int64)
    table[found] += np.concatenate(shifts)
    return table.astype(np.uint32)


__all__ = ["folded", "folded_text"]
