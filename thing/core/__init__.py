"""The protocol without I/O: bytes and the time in; bytes, events and a deadline out."""
