"""
The rig: what a day does to sessions, done to real processes.

Each module that :data:`tests.rig.check.CHECKS` names is one check, and
``python -m tests.rig NAME`` runs it. The others are what checks share: ``check.py`` says what one
is, ``peers.py`` has two processes with sessions between them, which run ``peer.py`` or
``asyncpeer.py``; ``network.py`` has a link that can be spoilt, ``wallclock.py`` a clock that is
set.
"""
