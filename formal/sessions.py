"""The claims of what a session is used for: announcements, tickets, joining."""

from __future__ import annotations

from formal.claims import Claim, Model, Mutation, Verdict

BOTH_SIGN = (
    "Both keys sign it, over this session's id: nobody announces a key that he does not have."
)
SAYS_WHICH = "the server says in each handshake with signatures by which keys it holds."
SEALED = "It is sealed, and of no use without the secret that goes with it."
BOUND = "It is bound to the server's credentials, the next one included."
ONLY_THE_ENDS = "Only the two ends read and write a session's data."
NO_THING = (
    "It is no thing: no message, stream or last word is taken, nobody is told that it is there, "
    "and it has one request."
)
WITHOUT_SECRET = "Without the secret he is neither the server nor the thing."

ANNOUNCED = (
    "announced(s: bitstring, current: bitstring, next: bitstring) = hash((s, current, next))"
)


def _hashOf(name: str, what: str, parts: str, verdict: Verdict, why: str = "") -> Mutation:
    old = "hash((s, current, next))"
    return Mutation(name, what, ANNOUNCED, ANNOUNCED.replace(old, f"hash({parts})"), verdict, why)


NO_SESSION = _hashOf(
    "no-session-id",
    "The signatures do not cover the session id",
    "(current, next)",
    Verdict.BROKEN,
)
NO_CURRENT = _hashOf(
    "no-current-key",
    "The signatures do not cover the current key",
    "(s, next)",
    Verdict.PROVED,
    "the session id does, by the transcript, which has SCC",
)
CLEAR_SNK = Mutation(
    "clear",
    "SNK is taken in the clear",
    "letfun brought(traffic: bitstring, record: bitstring) = received(traffic, 0, record).",
    "letfun brought(traffic: bitstring, record: bitstring) = record.",
    Verdict.PROVED,
    "both signatures do without the record's protection: also who has stolen the session's keys "
    "announces nothing",
)
ONE_CONTEXT = Mutation(
    "one-context",
    "Both signatures have the same context",
    "contextOfCurrent(context: bitstring) = context",
    "contextOfCurrent(context: bitstring) = nextContext",
    Verdict.PROVED,
    "each key has its place in the hash. The contexts are braces",
)

ANNOUNCEMENT = Model(
    "announcement",
    "The announcement of a server's next key",
    (
        Claim(
            "possible",
            "A client can accept an announcement.",
            "",
            """
query s, k, n: bitstring; event(Accepts(s, k, n)).
""",
            Verdict.BROKEN,
        ),
        Claim(
            "current",
            "A key that a client accepts was announced by the owner of the current key, in this "
            "session, unless that key was stolen; also if the session's keys were.",
            BOTH_SIGN,
            """
query s, b, n: bitstring;
    event(Accepts(s, pk(key(b)), n)) ==> event(Announces(s, pk(key(b)), n)) || event(Stolen(b)).
""",
            mutations=(
                Mutation(
                    "no-current-signature",
                    "The client does not check the current key's signature",
                    "        if verify(current, (contextOfCurrent(currentContext), "
                    "announced(s, current, next)), ofCurrent)\n        then\n",
                    "",
                ),
                NO_SESSION,
                _hashOf(
                    "no-next-key",
                    "The signatures do not cover the next key",
                    "(s, current)",
                    Verdict.BROKEN,
                ),
                NO_CURRENT,
                ONE_CONTEXT,
                CLEAR_SNK,
            ),
        ),
        Claim(
            "next",
            "The owner of the key that a client accepts has agreed, to this current key and in "
            "this session, unless the accepted key was stolen; also if the current one was.",
            BOTH_SIGN,
            """
query s, k, n: bitstring;
    event(Accepts(s, k, pk(key(n)))) ==> event(Announces(s, k, pk(key(n)))) || event(Stolen(n)).
""",
            mutations=(
                Mutation(
                    "no-next-signature",
                    "The client does not check the next key's signature",
                    "        if verify(next, (nextContext, announced(s, current, next)), ofNext) "
                    "then\n",
                    "",
                ),
                NO_SESSION,
                NO_CURRENT,
                ONE_CONTEXT,
                CLEAR_SNK,
            ),
        ),
        Claim(
            "none",
            "If a client concludes that no other key holds, the server has said so in this "
            "session, unless its key was stolen.",
            SAYS_WHICH,
            """
query s, b: bitstring;
    event(ConcludesNone(s, pk(key(b)))) ==> event(SaysNone(s, pk(key(b)))) || event(Stolen(b)).
""",
            mutations=(
                Mutation(
                    "no-shf",
                    "SHF, whose extension says it, is in no transcript",
                    "fun untilSHF(bitstring, bitstring): bitstring [data].",
                    "letfun untilSHF(t: bitstring, shf: bitstring) = t.",
                ),
            ),
        ),
    ),
)

GIVEN = Model(
    "given",
    "A ticket that is given in a session, and taken back",
    (
        Claim(
            "possible",
            "A server can take a ticket back.",
            "",
            """
query k, b, f, h, rs: bitstring; event(TakesBack(k, b, f, h, rs)).
""",
            Verdict.BROKEN,
        ),
        Claim(
            "secret",
            "The resumption secret of a client stays secret unless the client's key or that of "
            "the tickets was stolen, also from who has all the session's other secrets.",
            SEALED,
            """
query a, b, f, t, rs: bitstring;
    event(Gives(a, b, f, t, rs)) && attacker(rs)
        ==> event(Stolen(a)) || event(TicketKeyStolen(f)).
""",
            mutations=(
                Mutation(
                    "open",
                    "The key of tickets is known",
                    "fun ticketKey(bitstring): bitstring [private].",
                    "fun ticketKey(bitstring): bitstring.",
                ),
                Mutation(
                    "exporter-label",
                    "The resumption secret has the label of the exporter secret",
                    "resumptionSecret(main: bitstring, h: bitstring) = "
                    "expandLabel(main, resMain, h)",
                    "resumptionSecret(main: bitstring, h: bitstring) = "
                    "expandLabel(main, expMain, h)",
                    Verdict.PROVED,
                    "it is of another transcript: CHI..CCC, and not CHI..SHF",
                ),
            ),
        ),
        Claim(
            "same-server",
            "A ticket that a server takes back was given by a server of the very same "
            "credentials, to the client that it names, unless the tickets' key was stolen.",
            BOUND,
            """
query a, b, f, h, t, rs: bitstring;
    event(TakesBack(pk(key(a)), b, f, h, rs))
        ==> event(Gives(a, b, f, t, rs)) || event(TicketKeyStolen(f)).
""",
            mutations=(
                Mutation(
                    "no-server",
                    "A ticket does not say which credentials its server has",
                    "shownBy(server: bitstring) = pk(key(server))",
                    "shownBy(server: bitstring) = empty",
                ),
            ),
        ),
        Claim(
            "offered",
            "A ticket that a server takes back was offered by its client, in this CHI, to this "
            "server, unless the client's key or that of the tickets was stolen. (The same CHI may "
            "come again: the handshake goes no further then.)",
            SEALED,
            """
query a, b, f, h, rs: bitstring;
    event(TakesBack(pk(key(a)), b, f, h, rs))
        ==> event(Offers(a, b, h, rs)) || event(Stolen(a)) || event(TicketKeyStolen(f)).
""",
            mutations=(
                Mutation(
                    "no-binder",
                    "The server does not check the binder",
                    "    if isBinder(b, rs, chi) then\n",
                    "",
                ),
                Mutation(
                    "binder-of-nothing",
                    "The binder does not cover CHI",
                    "offered(chi: bitstring) = chi",
                    "offered(chi: bitstring) = empty",
                ),
            ),
        ),
        Claim(
            "kept",
            "A ticket that a client keeps was given to it by its server in this session, with "
            "this resumption secret, unless the server's key was stolen.",
            ONLY_THE_ENDS,
            """
query a, b, f, t, rs: bitstring;
    event(Keeps(a, b, t, rs)) ==> event(Gives(a, b, f, t, rs)) || event(Stolen(b)).
""",
            mutations=(
                Mutation(
                    "no-mac",
                    "The client does not check SHF's MAC",
                    "    (m = confirmation(main, h3, shf)).",
                    "    (m = m).",
                    Verdict.PROVED,
                    "SHF is sealed. The MAC keeps it up alone, too: see the next one",
                ),
                Mutation(
                    "clear",
                    "SHF is taken in the clear",
                    "    received(serverHandshake(main, h3), 1, record).",
                    "    record.",
                    Verdict.PROVED,
                    "SHF has a MAC",
                ),
                Mutation(
                    "clear-no-mac",
                    "SHF is taken in the clear, and its MAC not checked",
                    "    received(serverHandshake(main, h3), 1, record).\n"
                    "letfun confirms(m: bitstring, main: bitstring, h3: bitstring, "
                    "shf: bitstring) =\n"
                    "    (m = confirmation(main, h3, shf)).",
                    "    record.\n"
                    "letfun confirms(m: bitstring, main: bitstring, h3: bitstring, "
                    "shf: bitstring) =\n"
                    "    (m = m).",
                ),
            ),
        ),
    ),
)

ONE_SECRET = Mutation(
    "one-secret",
    "All have the same secret",
    "secretOf(identity: bitstring) = presharedKey(identity)",
    "secretOf(identity: bitstring) = presharedKey(empty)",
)
NO_NAME = Mutation(
    "no-identity",
    "The identity is not in CHI, and so in no transcript",
    "named(identity: bitstring) = identity",
    "named(identity: bitstring) = empty",
    Verdict.PROVED,
    "each identity has a secret of its own, and all keys come of it",
)
NO_CLIENT_MAC = Mutation(
    "no-ccc-mac",
    "The server does not check CCC's MAC",
    "    if m = finished(hs, h1) then\n",
    "",
    Verdict.PROVED,
    "the session's keys need the secret, too, so nothing that is said in it can be read; but the "
    "server would believe that somebody is there",
)

LIMITED = Model(
    "limited",
    "A session by an invitation, beside those of things with pre-shared keys",
    (
        Claim(
            "possible",
            "A key can be authorized by an invitation.",
            "",
            """
query i, s, k: bitstring; event(Authorizes(join(i), s, k)).
""",
            Verdict.BROKEN,
        ),
        Claim(
            "things",
            "What a server takes as a thing's was said by that thing in this session, whoever has "
            "all invitations and all other things' keys.",
            WITHOUT_SECRET,
            """
query a, s, m: bitstring;
    event(Takes(thing(a), s, m)) ==> event(Says(thing(a), s, m)) || event(Stolen(thing(a))).
""",
            mutations=(ONE_SECRET, NO_NAME, NO_CLIENT_MAC),
        ),
        Claim(
            "request",
            "A key is authorized only if who has the invitation has asked for it in this session, "
            "whoever has all other invitations and pre-shared keys.",
            WITHOUT_SECRET,
            """
query i, s, k: bitstring;
    event(Authorizes(join(i), s, k)) ==> event(Asks(join(i), s, k)) || event(Stolen(join(i))).
""",
            mutations=(ONE_SECRET, NO_NAME, NO_CLIENT_MAC),
        ),
        Claim(
            "nothing-else",
            "Of who has an invitation nothing is taken but the request, though he has the keys.",
            NO_THING,
            """
query i, s, m: bitstring; event(Takes(join(i), s, m)).
""",
            mutations=(
                Mutation(
                    "anything",
                    "The server takes whatever comes in a session by an invitation",
                    "limit(m: bitstring) = let request(theirs) = m in m",
                    "limit(m: bitstring) = m",
                ),
            ),
        ),
    ),
)

MODELS = (ANNOUNCEMENT, GIVEN, LIMITED)
"""The models of sessions, in the page's order."""
