"""The tests of the ``thing`` command."""
