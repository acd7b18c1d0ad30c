"""
One Connection on the reactor: the protocol and the factory that users subclass, and their parts.

What comes in goes from :mod:`~thing.session.driver`, which carries octets and keeps time, to
:mod:`~thing.session.link`, which turns events into the user's callbacks, to
:mod:`~thing.session.protocol`. Who may come in is decided by :mod:`~thing.core.door`, and
carried out and counted by :mod:`~thing.session.reception`. :mod:`~thing.session.factory` puts
them together.

From here the core is driven, and trust is asked. What a message is and when it is legal is the
core's; whom to believe is trust's; what is said over a session is the user's. Nothing here reads
or writes files, and nothing but the link calls a user's callbacks.
"""
