"""
The rig: what a day does to sessions, done to real processes.

Each module that :data:`tests.rig.check.CHECKS` names is one check, and
``python -m tests.rig NAME`` runs it. The others are what they share.
"""
