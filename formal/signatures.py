"""The claims of the handshake with signatures on both sides, and what breaks them."""

from __future__ import annotations

from dataclasses import replace

from formal.claims import Claim, Model, Verdict
from formal.handshake import (
    CLIENT_UNCHECKED,
    MISBINDING,
    SERVER_UNCHECKED,
    UNCHECKED_CCC_MAC,
    UNCHECKED_SCC_SIGNATURE,
    UNTIL_CDH,
    WITHOUT_CHI,
    WITHOUT_DIFFIE_HELLMAN,
    changed,
    client,
    possible,
    sameKeys,
    secret,
    server,
)

CCC_MAC_WITHOUT_SCC = (
    ("mac(clientFinished(hs, h1), t2, withSignature)", "mac(clientFinished(hs, h1), t1, mine)"),
    (
        "if macC = mac(clientFinished(hs, h1), t2, macPart)",
        "if macC = mac(clientFinished(hs, h1), t1, signed)",
    ),
)
UNCHECKED_SCC_MAC = ("    if macS = mac(serverFinished(hs, h1), t1, macPart) then\n", "")
UNCHECKED_SHF_MAC = ("    if macF = mac(serverConfirm(hs, h1), t3, macPartF) then\n", "")
CCC_SIGNATURE_WITHOUT_SCC = (
    ("clientSignature(me, t2, mine)", "clientSignature(me, t1, mine)"),
    ("clientOf(t2, signed, signatureC)", "clientOf(t1, signed, signatureC)"),
)
KEYS_KNOWN = (
    (
        "    out(c, cdh);\n    let t1 = untilCDH(before, shi, sdh, cdh) in\n"
        "    let h1 = hash(t1) in\n    let hs = handshakeSecret(zeros, shared) in\n",
        "    out(c, cdh);\n    let t1 = untilCDH(before, shi, sdh, cdh) in\n"
        "    let h1 = hash(t1) in\n    let hs = handshakeSecret(zeros, shared) in\n"
        "    out(c, (serverHandshake(hs, h1), clientHandshake(hs, h1)));\n",
    ),
    (
        "    let t2 = (t1, scc) in\n    out(c, seal(aead, serverHandshake(hs, h1), zero, scc));\n",
        "    let t2 = (t1, scc) in\n    out(c, scc);\n"
        "    out(c, (serverHandshake(hs, h1), clientHandshake(hs, h1)));\n"
        "    out(c, seal(aead, serverHandshake(hs, h1), zero, scc));\n",
    ),
)
"""Both sides publish the handshake's traffic secrets: what it encrypts is as good as clear."""
WITHOUT_TRANSCRIPT = (
    ("= expandLabel(main, cApTraffic, h).", "= expandLabel(main, cApTraffic, empty)."),
    ("= expandLabel(main, sApTraffic, h).", "= expandLabel(main, sApTraffic, empty)."),
    ("= expandLabel(main, expMain, h).", "= expandLabel(main, expMain, empty)."),
    ("= expandLabel(main, resMain, h).", "= expandLabel(main, resMain, empty)."),
)
"""No session key depends on the transcript."""
REJECTS = "Once the peer has keys nothing in the clear is honoured."
PRIVACY = (
    "The client's key or certificate is shown only to a server that the client has authenticated "
    "and admitted."
)
SIGNATURES = Model(
    "signatures",
    "Signatures on both sides, X25519, no retry",
    (
        possible(),
        server(
            (
                SERVER_UNCHECKED,
                changed(
                    "unchecked-key",
                    "The client believes any key that is proved",
                    ("    if credential = pk(key(peer)) then\n", ""),
                ),
                changed(
                    "signed-alone",
                    "Signatures cover their message, and no transcript",
                    (
                        "    sign(k, (context, hash((before, part)))).",
                        "    sign(k, (context, hash(part))).",
                    ),
                    (
                        ") = verify(p, (context, hash((before, part))), s).",
                        ") = verify(p, (context, hash(part)), s).",
                    ),
                ),
                changed(
                    "no-shares",
                    "SDH and CDH are left out of the transcript",
                    (UNTIL_CDH, "    (before, shi)."),
                ),
                WITHOUT_CHI,
                changed(
                    "no-shi",
                    "SHI is left out of the transcript",
                    (UNTIL_CDH, "    (before, sdh, cdh)."),
                ),
                changed(
                    "one-context",
                    "Both roles sign with the same context",
                    (
                        "const serverContext, clientContext: bitstring [data].",
                        "const serverContext: bitstring [data].\n"
                        "letfun clientContext = serverContext.",
                    ),
                    why="what is signed begins with the type of its message, and covers another "
                    "part of the transcript in each role: the contexts are the braces",
                ),
                changed(
                    "unchecked-scc-mac",
                    "The client does not check SCC's MAC",
                    UNCHECKED_SCC_MAC,
                    why="SCC is sealed under a key that only the Diffie-Hellman gives, and SHF's "
                    "MAC covers it",
                ),
                changed(
                    "unchecked-shf-mac",
                    "The client does not check SHF's MAC",
                    UNCHECKED_SHF_MAC,
                    why="SHF is sealed under a key of this transcript, which the server uses once "
                    "more only for SHF",
                ),
                changed(
                    "open-handshake",
                    "What the handshake encrypts is as good as clear",
                    *KEYS_KNOWN,
                    why="the MACs alone are enough; the encryption hides who the client is",
                ),
                changed(
                    "open-unchecked-shf",
                    "The same, and the client does not check SHF's MAC",
                    UNCHECKED_SHF_MAC,
                    *KEYS_KNOWN,
                ),
                changed(
                    "no-server-random",
                    "The server's random octets are always the same",
                    (
                        "    new random: bitstring;\n    let (secretPart",
                        "    let random = empty in\n    let (secretPart",
                    ),
                    why="its share is as fresh as they are",
                ),
                changed(
                    "zero-results",
                    "Results of X25519 that are zero are taken",
                    (
                        "    if shared <> zeros then (exp(g, x), shared).",
                        "    (exp(g, x), shared).",
                    ),
                    ("    if shared <> zeros then shared.", "    shared."),
                    why="the signatures cover both shares",
                ),
            )
        ),
        client(
            (
                CLIENT_UNCHECKED,
                changed(
                    "signed-alone",
                    "CCC's signature covers CCC, and no transcript",
                    (
                        "    signature(key(me), clientContext, before, part).",
                        "    signature(key(me), clientContext, empty, part).",
                    ),
                    (
                        "isSignature(credential, s, clientContext, before, part)",
                        "isSignature(credential, s, clientContext, empty, part)",
                    ),
                ),
                changed(
                    "unchecked-ccc-mac",
                    "The server does not check CCC's MAC",
                    UNCHECKED_CCC_MAC,
                    why="CCC is sealed under a key that only the Diffie-Hellman gives, and its "
                    "signature covers the transcript",
                ),
                changed(
                    "ccc-signature-without-scc",
                    "CCC's signature covers the transcript to CDH only",
                    *CCC_SIGNATURE_WITHOUT_SCC,
                    why="CCC's MAC covers SCC, and only the two sides can make it",
                ),
                changed(
                    "sign-without-mac",
                    "Neither proof of CCC covers SCC, SCC's MAC is not checked, and what the "
                    "handshake encrypts is as good as clear: what is left is signed Diffie-Hellman "
                    "without identities",
                    UNCHECKED_SCC_MAC,
                    *CCC_SIGNATURE_WITHOUT_SCC,
                    *CCC_MAC_WITHOUT_SCC,
                    *KEYS_KNOWN,
                ),
            )
        ),
        secret(
            "Client",
            ("S",),
            (
                changed(
                    "kept-share",
                    "The server's ephemeral key is found after the session",
                    (
                        "    out(c, seal(aead, serverHandshake(hs, h1), one, shf)).",
                        "    out(c, (secretPart, seal(aead, serverHandshake(hs, h1), one, shf))).",
                    ),
                ),
                WITHOUT_DIFFIE_HELLMAN,
            ),
        ),
        secret("Server", ("C",), (WITHOUT_DIFFIE_HELLMAN,)),
        sameKeys(
            mutations=(
                changed(
                    "keys-without-transcript",
                    "No session key depends on the transcript",
                    *WITHOUT_TRANSCRIPT,
                    verdict=Verdict.OPEN,
                    why="each side checks MACs over the whole transcript before it has the keys; "
                    "ProVerif finds no attack, only a trace in which one server says two SHF",
                ),
                changed(
                    "misbinding",
                    "The same, what the handshake encrypts is as good as clear, and neither CCC's "
                    "nor SHF's MAC is checked: whoever puts a credential of his own into CCC is "
                    "taken for the client",
                    *WITHOUT_TRANSCRIPT,
                    *KEYS_KNOWN,
                    UNCHECKED_CCC_MAC,
                    UNCHECKED_SHF_MAC,
                ),
            ),
            sentence=MISBINDING,
        ),
    ),
)


REJECTING = Model(
    "rejects",
    "A server that refuses a client which has believed it",
    (
        Claim(
            "server",
            "A reject that a client heeds while it waits for SHF is that server's, for this "
            "handshake.",
            REJECTS,
            """
query S, x, h: bitstring;
    event(ClientHeeds(S, x, h)) ==> event(ServerRejects(S, x, h)) || event(Stolen(S)).
""",
            mutations=(
                changed(
                    "unproved",
                    "A reject counts before the server is proved",
                    UNCHECKED_SCC_SIGNATURE,
                ),
            ),
        ),
    ),
)

OPEN = changed(
    "open",
    "CCC is sent in the clear",
    (
        "    out(c, seal(aead, clientHandshake(hs, h1), zero, ccc));",
        "    out(c, (ccc, seal(aead, clientHandshake(hs, h1), zero, ccc)));",
    ),
)
TOO_EARLY = changed(
    "too-early",
    "The client shows itself to a server that it does not know",
    ("    if credential = pk(key(peer)) then\n", ""),
)
HIDDEN = Model(
    "privacy",
    "Who the client is",
    (
        Claim(
            "hidden",
            "Nobody learns the key of a client that talks only to a server that it trusts, even if "
            "that server's key is stolen later.",
            PRIVACY,
            "query attacker(pk(key(hidden))).",
            mutations=(
                OPEN,
                TOO_EARLY,
                changed(
                    "open-handshake", "What the handshake encrypts is as good as clear", *KEYS_KNOWN
                ),
            ),
        ),
    ),
)

_TOLD_APART = "ProVerif refutes no equivalence: it shows how the attacker tells the two apart"
WHICH = Model(
    "which",
    "Which of two clients it is",
    (
        Claim(
            "either",
            "Nobody can tell which of two clients it is that talks to a server that it trusts, "
            "though he has the keys of both, and all others but that server's.",
            PRIVACY,
            "noninterf hidden among (alice, bob).",
            mutations=(
                replace(OPEN, verdict=Verdict.OPEN, why=_TOLD_APART),
                replace(TOO_EARLY, verdict=Verdict.OPEN, why=_TOLD_APART),
            ),
        ),
    ),
)

MODELS = (SIGNATURES, REJECTING, HIDDEN, WHICH)
"""The models, in the page's order."""
