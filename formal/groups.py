"""The claims of other groups, a retry and a client without a credential."""

from __future__ import annotations

from formal.claims import Claim, Model, Verdict
from formal.handshake import (
    CLIENT_UNCHECKED,
    MISBINDING,
    SERVER_UNCHECKED,
    WITHOUT_CHI,
    WITHOUT_DIFFIE_HELLMAN,
    changed,
    client,
    possible,
    sameKeys,
    secret,
    server,
)

MLKEM_BROKEN = "reduc forall d: bitstring; kemPrivate(kemPublic(d)) = d.\n"
X25519_BROKEN = "reduc forall x: bitstring; logarithm(exp(g, x)) = x.\n"
DOWNGRADE = "Changed, they give two different sets of keys."
QUANTUM = (
    "With the group X25519MLKEM768, which is the default of both sides, this holds against "
    "somebody who records now and has a quantum computer later."
)
EITHER = "both secrets enter the key schedule, so it is safe while either is."
SERVER_ALWAYS = "A server always authenticates itself."
HYBRID = Model(
    "hybrid",
    "Signatures on both sides, X25519MLKEM768",
    (
        possible(),
        server((SERVER_UNCHECKED,)),
        client((CLIENT_UNCHECKED,)),
        secret("Client", ("S",), (WITHOUT_DIFFIE_HELLMAN,)),
        secret("Server", ("C",), (WITHOUT_DIFFIE_HELLMAN,)),
        sameKeys((WITHOUT_CHI,), sentence=MISBINDING),
        secret(
            "Client",
            ("S",),
            name="x25519-broken",
            first=X25519_BROKEN,
            sentence=QUANTUM,
            what="The keys stay secret if X25519 is broken.",
            mutations=(
                changed(
                    "no-mlkem",
                    "ML-KEM's secret is left out",
                    ("(kemSecret(p, r), shared)).", "(empty, shared))."),
                    ("(decapsulate(d, ciphertext), shared).", "(empty, shared)."),
                ),
            ),
        ),
        secret(
            "Client",
            ("S",),
            name="mlkem-broken",
            first=MLKEM_BROKEN,
            sentence=EITHER,
            what="The keys stay secret if ML-KEM is broken.",
            mutations=(
                changed(
                    "no-x25519",
                    "X25519's secret is left out",
                    ("(kemSecret(p, r), shared)).", "(kemSecret(p, r), empty))."),
                    (
                        "(decapsulate(d, ciphertext), shared).",
                        "(decapsulate(d, ciphertext), empty).",
                    ),
                ),
            ),
        ),
    ),
)

_DOWNGRADE = (
    X25519_BROKEN
    + """
query C, S, group, aead, requested, capacity, ttl, interval, h, k: bitstring;
    event(ClientDone(C, S, (group, aead, requested, capacity, ttl, interval), h, k))
        ==> group = hybridGroup || event(Stolen(S)).
"""
)

BOTH = Model(
    "both",
    "Signatures on both sides, both groups offered and taken",
    (
        possible(),
        Claim(
            "possible-x25519",
            "Sessions with X25519 are possible, with whoever has stolen a server's key.",
            "",
            """
query C, S, aead, requested, capacity, ttl, interval, h, k: bitstring;
    event(ClientDone(C, S, (x25519Group, aead, requested, capacity, ttl, interval), h, k)).
""",
            Verdict.BROKEN,
        ),
        server((WITHOUT_CHI,)),
        client((CLIENT_UNCHECKED,)),
        secret("Client", ("S",), (WITHOUT_DIFFIE_HELLMAN,)),
        secret("Server", ("C",), (WITHOUT_DIFFIE_HELLMAN,)),
        sameKeys((WITHOUT_CHI,), sentence=MISBINDING),
        Claim(
            "downgrade",
            "Even if X25519 is broken, a client that prefers X25519MLKEM768 has it with a server "
            "that has it.",
            DOWNGRADE,
            _DOWNGRADE,
            mutations=(
                WITHOUT_CHI,
                changed(
                    "signed-without-chi",
                    "SCC's signature does not cover CHI; its MAC does",
                    (
                        "isSignature(credential, signatureS, serverContext, t1, signed)",
                        "isSignature(credential, signatureS, serverContext, (shi, sdh, cdh), "
                        "signed)",
                    ),
                    (
                        "signature(key(me), serverContext, t1, mine)",
                        "signature(key(me), serverContext, (shi, sdh, cdh), mine)",
                    ),
                ),
            ),
        ),
    ),
)

RETRY = Model(
    "retry",
    "Signatures on both sides, X25519, after a retry",
    (
        possible(),
        server(
            (
                changed(
                    "no-first",
                    "The first CHI and SHI are left out of the transcript",
                    ("    (first, asked, second).", "    second."),
                ),
                changed(
                    "unlike",
                    "The server does not compare the second CHI with the first",
                    (
                        "        =version1, =randomC, =groups, =aeads, =raw, =requested, "
                        "=capacity,\n"
                        "        withSolution(=extensions, number)\n",
                        "        =version1, randomC2, groups2, aeads2, =raw, requested2, "
                        "capacity2,\n"
                        "        extensions2\n",
                    ),
                    why="the transcript has both; the comparison keeps what was checked from being "
                    "changed",
                ),
            )
        ),
        client((CLIENT_UNCHECKED,)),
        secret("Client", ("S",), (WITHOUT_DIFFIE_HELLMAN,)),
        secret("Server", ("C",), (WITHOUT_DIFFIE_HELLMAN,)),
        sameKeys((WITHOUT_CHI,), sentence=MISBINDING),
    ),
)

ANONYMOUS = Model(
    "anonymous",
    "A client without a credential, X25519",
    (
        possible(),
        server(
            (SERVER_UNCHECKED,),
            client="nobody",
            sentence=SERVER_ALWAYS,
        ),
        secret("Client", ("S",), (WITHOUT_DIFFIE_HELLMAN,)),
        sameKeys((WITHOUT_CHI,), same="S = S2", who="who the server is"),
    ),
)

MODELS = (HYBRID, BOTH, RETRY, ANONYMOUS)
"""The models, in the page's order."""
