"""
Fuzz targets: each module has one function ``oneInput`` that takes any octets.

With atheris installed, ``python -m fuzz.fuzz_messages`` runs a target until it
fails; the test suite runs each on a bounded, seeded set without atheris.
"""

from __future__ import annotations

import sys
from collections.abc import Callable


def run(oneInput: Callable[[bytes], None]) -> None:
    """
    Fuzz a target until it fails or is stopped.

    :param oneInput: the target.
    """
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, oneInput)
    atheris.Fuzz()
