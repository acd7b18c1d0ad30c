"""One Connection on the reactor: the protocol and factory that users subclass, and their parts."""
