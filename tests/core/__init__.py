"""The tests of the protocol without I/O."""
