"""
The protocol without I/O: bytes and the time in; bytes, events and a deadline out.

What lives here: messages and their layouts, records and keys, the handshake, liveness, and what
waits in either direction; :class:`~thing.core.client.ClientConnection` and
:class:`~thing.core.server.ServerConnection` are the way in. What may be touched from here: the
words that everybody uses (:mod:`thing.errors`, :mod:`thing.events`, :mod:`thing.identity`),
:mod:`cryptography`, and the source of secrets. What never: a socket, a file, a clock, a log,
Twisted, or a room above this one. Time is an argument, and nothing that a peer sends raises out of
here.
"""
