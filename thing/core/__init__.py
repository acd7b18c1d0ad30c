"""
The protocol without I/O: bytes and the time in; bytes, events and a deadline out.

All that the specification says is decided here, and nowhere else. Nothing here reads a clock,
a file or a socket, writes to a log, or knows of Twisted.
"""
