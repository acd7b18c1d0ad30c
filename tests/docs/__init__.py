"""The tests of the documentation."""
