"""Which build of Thing this is."""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("txthing")
except PackageNotFoundError:
    __version__ = "0+unknown"  # A source tree that was not installed.
