"""
Conformance: a peer that tries every message, limit and error against somebody's implementation.

What lives here: a driver of its own over the core's pieces, which can say anything, also what is
wrong (:mod:`thing.conformance.peer` and the two roles); the checks, each a row with its name and
its sentence of the specification (:mod:`thing.conformance.catalogue`); and what goes through them
(:mod:`thing.conformance.examination`). What may be touched from here: the core, the words that
everybody uses, a raw key of :mod:`thing.trust`, Twisted. What never: a Connection of ours, which
is among the examined.
"""
