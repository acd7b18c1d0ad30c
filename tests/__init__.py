"""The tests of Thing, run by ``trial tests``."""
