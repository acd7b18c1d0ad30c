"""The claims of the handshake, for each way in."""

from __future__ import annotations

from formal.claims import Claim, Model, Mutation, Verdict

AUTHENTICATED = (
    "A side that reports a session with a key has proof that the peer holds that key, and that the "
    "peer agreed to this session, in its role, with this side's key."
)

SIGNATURES = Model(
    "signatures",
    "Signatures on both sides, X25519, no retry",
    (
        Claim(
            "possible",
            "A client can get to its end.",
            "",
            """
query C, S, p, h, k: bitstring; event(ClientDone(C, S, p, h, k)).
""",
            Verdict.BROKEN,
        ),
        Claim(
            "server",
            "For each session of a client with a server there is one of that server with that "
            "client, with the same group, AEAD, times, transcript and keys, unless the server's "
            "key was stolen.",
            AUTHENTICATED,
            """
query C, S, p, h, k: bitstring;
    inj-event(ClientDone(C, S, p, h, k))
        ==> inj-event(ServerDone(C, S, p, h, k)) || event(Stolen(S)).
""",
            mutations=(
                Mutation(
                    "unchecked-signature",
                    "The client does not check SCC's signature",
                    "if isSignature(credential, signatureS, serverContext, t1, signed) then",
                    "",
                ),
            ),
        ),
    ),
)

MODELS = (SIGNATURES,)
"""The models of the handshake, in the page's order."""
