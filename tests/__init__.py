"""The tests of Thing, run by ``trial tests``; a package for each room, such as ``tests.core``."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
"""The directory of the project."""
