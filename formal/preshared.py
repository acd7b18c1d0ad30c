"""The claims of pre-shared keys, tickets and invitations."""

from __future__ import annotations

from formal.claims import Claim, Model, Verdict
from formal.handshake import (
    AUTHENTICATION,
    NO_DIFFIE_HELLMAN,
    UNCHECKED_CCC_MAC,
    WITHOUT_DIFFIE_HELLMAN,
    changed,
    client,
    possible,
    sameKeys,
    secret,
    server,
)

UNCHECKED_BINDER = ("    if binderC = binder(label, psk, unbound) then\n", "")
NO_PRESHARED = (
    NO_DIFFIE_HELLMAN[0],
    "    extract(expandLabel(earlySecret(zeros), derivedLabel, hash(empty)), shared).",
)
TOKEN = (
    "Without the secret he is neither the server nor the thing. With it, he must show a key whose "
    "fingerprint is in the token."
)
PAST_CLOSED = "Sessions of the past stay closed."
ASK_AGAIN = "It is bound to the server's credentials, the next one included."
_THEFT = "event(Stolen((C, S)))"

WITHOUT_KEY = changed("no-preshared", "The key is left out of the key schedule", NO_PRESHARED)
WITHOUT_RESUMPTION_SECRET = changed(
    "no-secret", "The resumption secret is left out of the key schedule", NO_PRESHARED
)
WITHOUT_TOKEN = changed(
    "no-secret", "The invitation's secret is left out of the key schedule", NO_PRESHARED
)
BOTH_ROLES = changed(
    "both-roles",
    "A party uses a key as a client and as a server",
    ("(peer: bitstring, =me)), binderC)", "(=me, peer: bitstring)), binderC)"),
    ("(peer, me), pskOf(peer, me), chi)", "(me, peer), pskOf(me, peer), chi)"),
)
NOT_BOUND = changed(
    "not-bound",
    "A ticket is not bound to the server's credentials",
    (
        "letfun shownBy(server: bitstring) = server.",
        "letfun shownBy(server: bitstring) = empty.",
    ),
)
UNCOVERED_CHI = changed(
    "no-chi",
    "CHI is left out of the transcript",
    ("    (chi, shi, sdh, cdh).", "    (shi, sdh, cdh)."),
)

PSK = Model(
    "psk",
    "A pre-shared key",
    (
        possible(),
        server(
            (
                WITHOUT_KEY,
                BOTH_ROLES,
            ),
            stolen=_THEFT,
        ),
        client(
            (
                WITHOUT_KEY,
                changed(
                    "unchecked-binder",
                    "The server does not check the binder",
                    UNCHECKED_BINDER,
                    why="the MACs need the same key; the binder spares the server a key exchange, "
                    "and tells a wrong key before it",
                ),
                changed(
                    "unchecked-ccc-mac",
                    "The server does not check CCC's MAC",
                    UNCHECKED_CCC_MAC,
                    why="CCC is sealed under a key that needs the pre-shared one",
                ),
            ),
            stolen=_THEFT,
        ),
        secret("Client", ("(C, S)",), (WITHOUT_DIFFIE_HELLMAN,), sentence=PAST_CLOSED),
        secret("Server", ("(C, S)",), (WITHOUT_DIFFIE_HELLMAN,), sentence=PAST_CLOSED),
        sameKeys((BOTH_ROLES,)),
    ),
)


_TICKET_KEYS = ("(C, (b, farm))", "farm")
_TICKET_THEFT = " || ".join(f"event(Stolen({each}))" for each in _TICKET_KEYS)
_RESUMED = (
    "Nobody learns the keys of a resumed session that a {} reports, even if the ticket's secret "
    "and the keys of tickets are stolen afterwards, unless one was stolen before that."
)

TICKET = Model(
    "ticket",
    "A ticket",
    (
        possible(),
        Claim(
            "server",
            server().what,
            ASK_AGAIN,
            f"""
query C, b, farm, p, h, k: bitstring;
    inj-event(ClientDone(C, (b, farm), p, h, k))
        ==> inj-event(ServerDone(C, (b, farm), p, h, k)) || {_TICKET_THEFT}.
""",
            mutations=(
                NOT_BOUND,
                WITHOUT_RESUMPTION_SECRET,
            ),
        ),
        Claim(
            "client",
            client().what,
            AUTHENTICATION,
            f"""
query C, b, farm, p, h, k: bitstring;
    inj-event(ServerAdmits(C, (b, farm), p, h, k))
        ==> inj-event(ClientProves(C, (b, farm), p, h, k)) || {_TICKET_THEFT}.
""",
            mutations=(
                WITHOUT_RESUMPTION_SECRET,
                changed(
                    "unchecked-binder",
                    "The server does not check the binder",
                    UNCHECKED_BINDER,
                    why="as of a pre-shared key",
                ),
            ),
        ),
        *(
            secret(
                of,
                _TICKET_KEYS,
                (WITHOUT_DIFFIE_HELLMAN,),
                server="(b, farm)",
                sentence=PAST_CLOSED,
                what=_RESUMED.format(of.lower()),
            )
            for of in ("Client", "Server")
        ),
        sameKeys((NOT_BOUND,), sentence=ASK_AGAIN),
    ),
)

_INVITED = (
    "Nobody learns the keys of a session by an invitation that a {} reports, even if the token is "
    "stolen afterwards, unless it was stolen before that."
)

INVITATION = Model(
    "invitation",
    "An invitation",
    (
        Claim(
            "possible",
            "A thing can join.",
            "",
            "query I, P, Q: bitstring; event(Believes(I, P, Q)).",
            Verdict.BROKEN,
        ),
        Claim(
            "thing",
            "A key that is authorized by an invitation is one that somebody with the token asked "
            "for.",
            TOKEN,
            """
query I, P, Q: bitstring;
    event(Authorizes(I, P, Q)) ==> event(Asks(I, P)) || event(Stolen(I)).
""",
            mutations=(WITHOUT_TOKEN,),
        ),
        Claim(
            "server",
            "A thing that believes a server was authorized by it, unless the token was stolen.",
            TOKEN,
            """
query I, P, Q: bitstring;
    event(Believes(I, P, Q)) ==> event(Authorizes(I, P, Q)) || event(Stolen(I)).
""",
            mutations=(WITHOUT_TOKEN,),
        ),
        Claim(
            "fingerprint",
            "The key that a thing believes is that of the server that invited it, even if the "
            "token was stolen.",
            TOKEN,
            """
query n, S, P, Q: bitstring;
    event(Believes(joinId(n, S), P, Q)) ==> Q = pk(key(S)).
""",
            mutations=(
                changed(
                    "unchecked-fingerprint",
                    "The thing does not compare the fingerprint",
                    ("    if isInToken(theirs, identity) then\n", ""),
                ),
            ),
        ),
        secret("Client", ("S",), (WITHOUT_DIFFIE_HELLMAN,), what=_INVITED.format("thing")),
        secret("Server", ("C",), (WITHOUT_DIFFIE_HELLMAN,), what=_INVITED.format("server")),
        sameKeys((UNCOVERED_CHI,), same="S = C2", who="which invitation it is"),
    ),
)

MODELS = (PSK, TICKET, INVITATION)
"""The models, in the page's order."""
