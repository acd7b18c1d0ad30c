"""``python -m thing.cli``: the ``thing`` command where it is not installed."""

from thing.cli import main

if __name__ == "__main__":
    main()
