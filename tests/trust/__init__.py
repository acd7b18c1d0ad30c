"""The tests of who may be believed."""
