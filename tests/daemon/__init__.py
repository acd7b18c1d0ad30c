"""The tests of ``twistd thing``."""
