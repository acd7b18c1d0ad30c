"""The claims of the goodbye, the flat line and rejects."""

from __future__ import annotations

from dataclasses import replace

from formal import records
from formal.claims import Claim, Model, Mutation, Verdict
from formal.records import WITHOUT_NUMBER

AGREED = "An end that is reported as goodbye was agreed by both ends, and all data arrived."
DECIDED = "An end that is reported as flat line was decided by the server."
NO_OTHER = "No other end looks like these."
NOT_SENT = (
    "No third party can make a side believe in a flat line, or in a goodbye, that the other side "
    "did not send."
)

GOODBYE = """
query s, d: bitstring, p, q: nat;
    event(ClientGoodbye(s, p, q)) ==> event(ServerAgrees(s, p, q)) || event(Learned(s, d));
    event(ServerGoodbye(s, p, q)) ==> event(ClientGoodbye(s, p, q)) || event(Learned(s, d)).
"""
ALL_DATA = """
query s, d, m: bitstring, p, q, r: nat;
    event(ServerGoodbye(s, p, q)) && event(Sent(s, clientSends, r, data(m)))
        ==> event(Took(s, clientSends, r, data(m))) || event(Learned(s, d));
    event(ClientGoodbye(s, p, q)) && event(Sent(s, serverSends, r, data(m)))
        ==> event(Took(s, serverSends, r, data(m))) || event(Learned(s, d)).
"""
FLAT_LINE = """
query s, d, why: bitstring, q: nat;
    event(ClientFlatLined(s, q, why))
        ==> event(ServerFlatLines(s, q, why)) || event(Learned(s, d)).
"""
ONE_END = """
query s, d, why: bitstring, p, q, r: nat;
    event(ClientGoodbye(s, p, q)) && event(ServerFlatLines(s, r, why)) ==> event(Learned(s, d));
    event(ServerGoodbye(s, p, q)) && event(ClientFlatLined(s, r, why)) ==> event(Learned(s, d)).
"""
REJECT = """
query s, d, code: bitstring, p: nat;
    event(Rejected(s, d, p, code)) ==> event(Rejects(s, d, p, code)) || event(Learned(s, d)).
"""

CLEAR = Mutation(
    "clear",
    "A record that does not decrypt is taken as a clear one",
    "    unseal(aad(header), keyOf(traffic), nonceOf(traffic, n), sealed).",
    "    let m = unseal(aad(header), keyOf(traffic), nonceOf(traffic, n), sealed) in m "
    "else sealed.",
)
ONE_KEY = replace(
    records.ONE_KEY,
    verdict=Verdict.PROVED,
    why="no role takes a message that only itself may send, so what is reflected ends the session "
    "with an error. Keys of their own are belt, types of their own braces",
)

ENDINGS = Model(
    "endings",
    "The endings, behind any number of messages",
    (
        Claim(
            "goodbye",
            "If a client says that an end is a goodbye, its server had taken all up to CGB, where "
            "the client said it, and had said SGB where the client took it; if a server says so, "
            "the client does, with the same CGB and SGB. (Here and below: unless traffic secrets "
            "of the session were stolen.)",
            AGREED,
            GOODBYE,
        ),
        Claim(
            "all-data",
            "Then all data that either side sent was taken by the other.",
            AGREED,
            ALL_DATA,
        ),
        Claim(
            "flat-line",
            "If a client was flat-lined, its server has sent SFL there, with that reason.",
            DECIDED,
            FLAT_LINE,
        ),
        Claim(
            "one-end",
            "No session ends as goodbye for one side and as flat line for the other.",
            NO_OTHER,
            ONE_END,
        ),
        Claim(
            "reject",
            "A reject that a side takes in a session is the other side's, there.",
            NOT_SENT,
            REJECT,
        ),
    ),
)

FEW_ENDINGS = Model(
    "fewendings",
    "The endings, behind two messages of each side",
    (
        Claim(
            "possible",
            "A server can come to a goodbye.",
            "",
            """
query s: bitstring, p, q: nat; event(ServerGoodbye(s, p, q)).
""",
            Verdict.BROKEN,
        ),
        Claim(
            "possible-flat-line",
            "A client can be flat-lined.",
            "",
            """
query s, why: bitstring, q: nat; event(ClientFlatLined(s, q, why)).
""",
            Verdict.BROKEN,
        ),
        Claim(
            "goodbye",
            "As above: a goodbye was agreed by both.",
            AGREED,
            GOODBYE,
            mutations=(
                Mutation(
                    "server-cut",
                    "A server that has said SGB takes the end of the stream for a clean end",
                    "let ServerCut(s: bitstring, p: nat, q: nat) = event Truncated(s).",
                    "let ServerCut(s: bitstring, p: nat, q: nat) = event ServerGoodbye(s, p, q).",
                ),
                Mutation(
                    "client-cut",
                    "A client that has said CGB takes the end of the stream for a clean end",
                    "let ClientCut(s: bitstring, p: nat, q: nat) = event Truncated(s).",
                    "let ClientCut(s: bitstring, p: nat, q: nat) = event ClientGoodbye(s, p, q).",
                ),
                CLEAR,
                ONE_KEY,
                replace(
                    WITHOUT_NUMBER,
                    verdict=Verdict.PROVED,
                    why="each of the three goodbyes is said once, and each answers the one before. "
                    "What breaks is that all data came: see the next claim",
                ),
            ),
        ),
        Claim(
            "all-data",
            "As above: then all data arrived.",
            AGREED,
            ALL_DATA,
            mutations=(
                WITHOUT_NUMBER,
                CLEAR,
                ONE_KEY,
                Mutation(
                    "one-key-one-type",
                    "Both directions have the client's key, and both roles' data one type",
                    "letfun role(d: bitstring) = d.\n"
                    "letfun serverTraffic(main: bitstring, h: bitstring) = serverSession(main, h)",
                    "letfun role(d: bitstring) = clientSends.\n"
                    "letfun serverTraffic(main: bitstring, h: bitstring) = clientSession(main, h)",
                ),
            ),
        ),
        Claim(
            "flat-line",
            "As above: a flat line is the server's.",
            NOT_SENT,
            FLAT_LINE,
            mutations=(CLEAR, ONE_KEY),
        ),
        Claim(
            "one-end",
            "As above: no goodbye here and flat line there.",
            NO_OTHER,
            ONE_END,
            mutations=(
                Mutation(
                    "late-flat-line",
                    "A server that waits for CFL may flat-line its client",
                    "let ServerWaitsForCFL(s: bitstring, y: bitstring, q: nat) = 0.",
                    "let ServerWaitsForCFL(s: bitstring, y: bitstring, q: nat) = "
                    "FlatLines(s, y, q).",
                ),
            ),
        ),
        Claim(
            "reject",
            "As above: a reject is the peer's.",
            NOT_SENT,
            REJECT,
            mutations=(CLEAR,),
        ),
    ),
)

MODELS = (ENDINGS, FEW_ENDINGS)
"""The models of endings, in the page's order."""
