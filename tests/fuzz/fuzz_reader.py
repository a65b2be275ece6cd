"""A coverage-guided fuzzer on the reader: `python tests/fuzz/fuzz_reader.py [libFuzzer options] [folder]`.

    pip install '.[fuzz]'
    python tests/fuzz/fuzz_reader.py -max_total_time=1800 -timeout=10 -rss_limit_mb=2560 /tmp/corpus

Begins with the spec's vectors and tests/fuzz/corpus/. A foreign error is shown, its input kept as finding-…, and the
run goes on; a crash, 10 s or the memory limit end it and leave crash-…, timeout-… or oom-….
`python tests/fuzz/fuzz_reader.py FILE` repeats one input.
"""

from __future__ import annotations

import hashlib
import random
import sys
import tempfile
import traceback
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "conformance"), str(HERE.parents[1])]

with atheris.instrument_imports(include=["lance_like"]):
    from target import read_everything, seeds

    from lance_like.encodings.registry import ENCODINGS

    for name in ENCODINGS.names():
        ENCODINGS.get(name)  # loads it, so that its branches guide too

from mutate import mutated  # noqa: E402

_met: set[str] = set()


def one_input(data: bytes) -> None:
    try:
        read_everything(data)
    except Exception as error:
        # One finding a line of code: the same mistake is met thousands of times.
        frames = traceback.extract_tb(error.__traceback__)
        place = "".join(f"{Path(frame.filename).name}:{frame.lineno} " for frame in frames[-4:])
        if place not in _met:
            _met.add(place)
            kept = Path(f"finding-{len(_met):03}-{hashlib.sha1(data).hexdigest()[:12]}")
            kept.write_bytes(data)
            print(f"{kept}: {type(error).__name__}: {error}\n  at {place}", flush=True)


def mutator(data: bytes, max_size: int, seed: int) -> bytes:
    choice = random.Random(seed)
    if choice.random() < 0.2:
        return mutated(atheris.Mutate(data, min(max_size, len(data) + 64)), choice)[:max_size]
    return mutated(data, choice)[:max_size]


def main() -> None:
    arguments = sys.argv[1:]
    begin = [] if any(Path(argument).is_file() for argument in arguments) else [_folder_of_seeds()]
    options = ["-max_len=65536", *arguments, *begin]
    atheris.Setup([sys.argv[0], *options], one_input, custom_mutator=mutator)
    atheris.Fuzz()


def _folder_of_seeds() -> str:
    folder = Path(tempfile.mkdtemp(prefix="seeds-"))
    for number, path in enumerate(seeds()):
        (folder / f"{number:04}").write_bytes(path.read_bytes())
    return str(folder)


if __name__ == "__main__":
    main()
