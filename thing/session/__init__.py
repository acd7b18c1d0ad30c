"""
One Connection on the reactor: the protocol and factory that users subclass, and their parts.

Transports, timers, callbacks and limits are handled here. What the protocol allows is the
core's to say, and whom to believe is that of trust.
"""
