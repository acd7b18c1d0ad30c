"""The claims of records and key updates."""

from __future__ import annotations

from dataclasses import replace

from formal.claims import Claim, Model, Mutation, Verdict

IN_ORDER = "Data arrives in order, once and unchanged, or the session ends with an error."
ONLY_THE_ENDS = "Only the two ends read and write a session's data."
PAST = "What came before the latest key update stays closed."
FUTURE = (
    "Who steals a session's keys reads that session until it ends: a key update protects the past "
    "and not the future."
)

WITHOUT_IV = Mutation(
    "no-iv",
    "The nonce is the number alone, without the secret IV",
    "xor(expandLabel(traffic, ivLabel, empty), number(n))",
    "number(n)",
    Verdict.PROVED,
    "each key has its own numbers from 0 on, so no nonce comes twice. The IV is against who tries "
    "many keys of many sessions at once, which a symbolic attacker cannot do better so",
)
WITHOUT_HEADER = Mutation(
    "no-header",
    "The header is no part of what the AEAD binds",
    "aad(header: bitstring) = header",
    "aad(header: bitstring) = empty",
    Verdict.PROVED,
    "a header that is not true cuts the ciphertext at the wrong place, and its tag is wrong. That "
    "the tag binds it, too, is braces",
)
WITHOUT_TRANSCRIPT = Mutation(
    "no-transcript",
    "The client's traffic secret does not depend on the transcript",
    "letfun clientSession(main: bitstring, h: bitstring) = expandLabel(main, cApTraffic, h).",
    "letfun clientSession(main: bitstring, h: bitstring) = expandLabel(main, cApTraffic, empty).",
    Verdict.PROVED,
    "the main secret is of this session alone, since both ephemeral keys are. That both sides mean "
    "the same session is the handshake's: there the transcript is needed",
)

WITHOUT_NUMBER = Mutation(
    "no-number",
    "The nonce is the IV alone, without the number",
    "xor(expandLabel(traffic, ivLabel, empty), number(n))",
    "expandLabel(traffic, ivLabel, empty)",
)
WITHOUT_UPDATES = Mutation(
    "update-does-nothing",
    "A key update keeps the key, and the number goes on",
    "updated(traffic: bitstring) = nextTrafficSecret(traffic).\n"
    "letfun numberAfterUpdate(n: nat) = 0",
    "updated(traffic: bitstring) = traffic.\nletfun numberAfterUpdate(n: nat) = n + 1",
)
UPDATE_KEEPS_KEY = Mutation(
    "update-keeps-key",
    "A key update sets the number to 0 and keeps the key",
    "updated(traffic: bitstring) = nextTrafficSecret(traffic)",
    "updated(traffic: bitstring) = traffic",
)
ONE_KEY = Mutation(
    "one-key",
    "Both directions have the client's key",
    "serverTraffic(main: bitstring, h: bitstring) = serverSession(main, h)",
    "serverTraffic(main: bitstring, h: bitstring) = clientSession(main, h)",
)
RECORDS = Model(
    "records",
    "Records and key updates, any number of them",
    (
        Claim(
            "order",
            "The record that a side takes as the n-th of a direction is the n-th that its peer "
            "sent there, in any number of sessions, with key updates wherever the sender likes, "
            "as long as no traffic secret of that direction, of this generation or one before, "
            "was stolen.",
            IN_ORDER,
            """
query s, d, m: bitstring, p, k, n, e: nat;
    event(Took(s, d, p, k, n, m))
        ==> event(Sent(s, d, p, k, n, m)) || (event(Learned(s, d, e)) && e <= k).
""",
            mutations=(WITHOUT_IV, WITHOUT_HEADER, WITHOUT_TRANSCRIPT),
        ),
        Claim(
            "nonces",
            "No key seals two records under one number.",
            IN_ORDER,
            """
query s, d, m, m': bitstring, p, q, k, n: nat;
    event(Sent(s, d, p, k, n, m)) && event(Sent(s, d, q, k, n, m')) ==> p = q && m = m'.
""",
        ),
        Claim(
            "secrecy",
            "What was sent stays secret, also from who steals a traffic secret of a later "
            "generation, one of the other direction, the exporter secret or the resumption "
            "secret.",
            ONLY_THE_ENDS,
            """
query s, d, m: bitstring, k, e: nat;
    attacker(m) && event(Secret(s, d, k, m)) ==> event(Learned(s, d, e)) && e <= k.
""",
        ),
    ),
)

FEW_RECORDS = Model(
    "fewrecords",
    "Six records of each direction, two of them key updates",
    (
        Claim(
            "possible",
            "The last record arrives.",
            "",
            """
query s, d, m: bitstring; event(Took(s, d, 5, m)).
""",
            Verdict.BROKEN,
        ),
        Claim(
            "order",
            "The record that a side takes as the n-th is the n-th that its peer sent, unless a "
            "traffic secret of this direction was stolen.",
            IN_ORDER,
            """
query s, d, m: bitstring, p, e: nat;
    event(Took(s, d, p, m)) ==> event(Sent(s, d, p, m)) || event(Learned(s, d, e)).
""",
            mutations=(
                WITHOUT_NUMBER,
                UPDATE_KEEPS_KEY,
                Mutation(
                    "number-goes-on",
                    "A key update changes the key, and the number goes on",
                    "numberAfterUpdate(n: nat) = 0",
                    "numberAfterUpdate(n: nat) = n + 1",
                    Verdict.PROVED,
                    "under another key any number is new. It starts at 0 again so that it counts "
                    "what the key has protected",
                ),
                replace(
                    WITHOUT_UPDATES,
                    verdict=Verdict.PROVED,
                    why="the number alone keeps the order. What a new key is for is the past: see "
                    "the claim on secrecy",
                ),
                Mutation(
                    "second-try",
                    "A receiver that cannot read a record tries the key before the update, too",
                    "    received(traffic, n, record).",
                    "    let m = received(traffic, n, record) in m "
                    "else received(older, n, record).",
                ),
                ONE_KEY,
            ),
        ),
        Claim(
            "nonces",
            "No key seals two contents under one number.",
            IN_ORDER,
            """
query k, m, m': bitstring, n: nat;
    event(Sealed(k, n, m)) && event(Sealed(k, n, m')) ==> m = m'.
""",
            mutations=(UPDATE_KEEPS_KEY, ONE_KEY),
        ),
        Claim(
            "secrecy",
            "What was sent stays secret from who steals traffic secrets of later generations, as "
            "a side has them, or of the other direction, and the exporter and resumption secrets.",
            PAST,
            """
query s, d, m: bitstring, k, e: nat;
    attacker(m) && event(Secret(s, d, k, m)) ==> event(Learned(s, d, e)) && e <= k.
""",
            mutations=(
                WITHOUT_UPDATES,
                Mutation(
                    "kept",
                    "A side does not forget the generation before",
                    "kept(traffic: bitstring, older: bitstring) = traffic",
                    "kept(traffic: bitstring, older: bitstring) = (traffic, older)",
                ),
                Mutation(
                    "reversible",
                    "Who has a generation can compute the one before",
                    "(* A side does not look back *)",
                    "reduc forall x: bitstring; before(expandLabel(x, trafficUpd, empty)) = x.",
                ),
                Mutation(
                    "exporter-label",
                    "The exporter secret has the label of the client's traffic secret",
                    "exporterSecret(main: bitstring, h: bitstring) = expandLabel(main, expMain, h)",
                    "exporterSecret(main: bitstring, h: bitstring) = "
                    "expandLabel(main, cApTraffic, h)",
                ),
                Mutation(
                    "resumption-label",
                    "The resumption secret has the label of the client's traffic secret",
                    "resumptionSecret(main: bitstring, h: bitstring) = "
                    "expandLabel(main, resMain, h)",
                    "resumptionSecret(main: bitstring, h: bitstring) = "
                    "expandLabel(main, cApTraffic, h)",
                    Verdict.PROVED,
                    "it is of another transcript: CHI..CCC, and not CHI..SHF. The label is a belt "
                    "over these braces",
                ),
            ),
        ),
        Claim(
            "future",
            "What is sent after a key update is secret from who stole a traffic secret before.",
            FUTURE,
            """
query s, d, m: bitstring, k: nat;
    attacker(m) && event(Secret(s, d, k, m)) ==> event(Learned(s, d, k)).
""",
            Verdict.BROKEN,
            why="and not promised: each generation follows from the one before",
        ),
    ),
)

MODELS = (RECORDS, FEW_RECORDS)
"""The models of records, in the page's order."""
