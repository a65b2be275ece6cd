"""Arguments in, exit codes out: 0 all is well, 1 faults were found, 2 it could not be done."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from lance_like.errors import LanceLikeError
from lance_like.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. arguments: without the program's name; None: those of the process."""
    options = _parser().parse_args(arguments)
    try:
        found = options.run(options)
        sys.stdout.flush()
        return found
    except BrokenPipeError:
        # Whoever read the output has seen enough; nothing may be written to it any more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except LanceLikeError as error:
        print(f"lance_like: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lance_like", description="Look into lance_like files and check them.")
    parser.add_argument("--version", action="version", version=f"lance_like {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    inspect = commands.add_parser("inspect", help="show the columns, pages, encodings and sizes of a data file")
    inspect.add_argument("path", help="a data file: a path or file://…")
    inspect.add_argument("--pages", action="store_true", help="list every page too")
    inspect.add_argument("--exact", action="store_true", help="decode all pages for the exact size in memory")
    inspect.add_argument("--json", action="store_true", help="print JSON instead of tables")
    inspect.set_defaults(run=_inspect)

    verify = commands.add_parser("verify", help="check a data file or a whole dataset and name every fault")
    verify.add_argument("path", help="a data file, or the folder of a dataset")
    verify.add_argument("--json", action="store_true", help="print JSON instead of text")
    verify.set_defaults(run=_verify)
    return parser


def _inspect(options: argparse.Namespace) -> int:
    from lance_like.cli.inspect import inspect

    print(inspect(options.path, pages=options.pages, exact=options.exact, as_json=options.json))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from lance_like.cli.verify import verify

    text, ok = verify(options.path, as_json=options.json)
    print(text)
    return 0 if ok else 1
