"""One target under atheris, in an instrumented process that :func:`fuzz.running.guided` starts."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

from fuzz.running import Finder, load

if __name__ == "__main__":
    _name, _directory, *_options = sys.argv[1:]
    with atheris.instrument_imports(include=["thing"]):
        _target = load(_name)
    atheris.Setup([sys.argv[0], *_options], Finder(_target.oneInput, Path(_directory)).attempt)
    atheris.Fuzz()
