"""`python -m lance_like`: the same as the command `lance_like`."""

from lance_like.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
