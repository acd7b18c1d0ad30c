"""The tests of presence that nodes share through Redis."""
