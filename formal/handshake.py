"""What the claims of the handshake share: sentences, queries, and changes to its models."""

from __future__ import annotations

from formal.claims import Claim, Mutation, Verdict

AUTHENTICATION = (
    "A side that reports a session with a key has proof that the peer holds that key, and that the "
    "peer agreed to this session, in its role, with this side's key."
)
FORWARD_SECRECY = "Keys that are stolen later open no session of the past."
MISBINDING = "The signature covers the credential, and the MAC needs the secret."

KEYS = ("kc", "ks", "ke", "kr")
"""A session's keys: the client's, the server's, the exporter secret, the resumption secret."""

UNCHECKED_SCC_SIGNATURE = (
    "    if isSignature(credential, signatureS, serverContext, t1, signed) then\n",
    "",
)
UNCHECKED_CCC_MAC = ("    if macC = mac(clientFinished(hs, h1), t2, macPart) then\n", "")
UNTIL_CDH = "    (before, shi, sdh, cdh)."
NO_DIFFIE_HELLMAN = (
    "    extract(expandLabel(earlySecret(preshared), derivedLabel, hash(empty)), shared).",
    "    extract(expandLabel(earlySecret(preshared), derivedLabel, hash(empty)), zeros).",
)


def possible(mutations: tuple[Mutation, ...] = ()) -> Claim:
    """
    Claim that a client can get to its end.

    :param mutations: what must make it impossible.
    :return: the claim.
    """
    return Claim(
        "possible",
        "A session is possible.",
        "",
        "query C, S, p, h, k: bitstring; event(ClientDone(C, S, p, h, k)).",
        Verdict.BROKEN,
        mutations,
    )


def server(
    mutations: tuple[Mutation, ...] = (),
    stolen: str = "event(Stolen(S))",
    client: str = "C",
    sentence: str = AUTHENTICATION,
) -> Claim:
    """
    Claim that a client's session is its server's, too.

    :param mutations: what must break it.
    :param stolen: what excuses the server.
    :param client: who the client is for the server.
    :param sentence: the sentence of ``docs/security.rst`` that says so.
    :return: the claim.
    """
    return Claim(
        "server",
        "For each session of a client with a server there is one of that server with that client, "
        "with the same group, AEAD, times, limits, transcript and keys.",
        sentence,
        f"""
query C, S, p, h, k: bitstring;
    inj-event(ClientDone(C, S, p, h, k))
        ==> inj-event(ServerDone({client}, S, p, h, k)) || {stolen}.
""",
        mutations=mutations,
    )


def client(mutations: tuple[Mutation, ...] = (), stolen: str = "event(Stolen(C))") -> Claim:
    """
    Claim that whom a server admits has proved himself to this server.

    :param mutations: what must break it.
    :param stolen: what excuses the client.
    :return: the claim.
    """
    return Claim(
        "client",
        "For each client that a server admits there is one proof of that client for that server, "
        "with the same group, AEAD, times, limits, transcript and handshake secret.",
        AUTHENTICATION,
        f"""
query C, S, p, h, k: bitstring;
    inj-event(ServerAdmits(C, S, p, h, k))
        ==> inj-event(ClientProves(C, S, p, h, k)) || {stolen}.
""",
        mutations=mutations,
    )


def secret(
    of: str,
    stolen: tuple[str, ...],
    mutations: tuple[Mutation, ...] = (),
    *,
    name: str = "",
    first: str = "",
    server: str = "S",
    sentence: str = FORWARD_SECRECY,
    what: str = "",
) -> Claim:
    """
    Claim that nobody learns any of a session's :data:`KEYS`.

    :param of: who reports the session, ``"Client"`` or ``"Server"``.
    :param stolen: whose keys must not have been stolen before that.
    :param mutations: what must break it.
    :param name: the claim's name.
    :param first: declarations that the query needs.
    :param server: what a server is called: a variable, or a pair of them.
    :param sentence: the sentence of ``docs/security.rst`` that says so.
    :param what: what is claimed, if it is not the usual.
    :return: the claim.
    """
    excuse = " || ".join(f"(event(Stolen({each}))@j && j < i)" for each in stolen)
    done = f"event({of}Done(C, {server}, p, h, ({', '.join(KEYS)})))@i"
    lines = [f"    {done} && attacker({key}) ==> {excuse}" for key in KEYS]
    peerWord = "server's" if of == "Client" else "client's"
    return Claim(
        name or f"secret-{of.lower()}",
        what
        or f"Nobody learns the keys of a session that a {of.lower()} reports, even if all keys are "
        f"stolen afterwards, unless the {peerWord} key was stolen before that.",
        sentence,
        f"{first}query C, {server.strip('()')}, p, h, {', '.join(KEYS)}: bitstring, i, j: time;\n"
        + ";\n".join(lines)
        + ".",
        mutations=mutations,
    )


def sameKeys(
    mutations: tuple[Mutation, ...],
    same: str = "C = C2 && S = S2",
    who: str = "who both are",
    sentence: str = AUTHENTICATION,
) -> Claim:
    """
    Claim that who has the same keys agrees on everything: no key is shared with somebody unknown.

    :param mutations: what must break it.
    :param same: what is the same of a client ``C``, with a server ``S``, and of a server ``S2``,
        with a client ``C2``.
    :param who: the same in words.
    :param sentence: the sentence of ``docs/security.rst`` that says so.
    :return: the claim.
    """
    return Claim(
        "same-keys",
        f"A client and a server that have the same keys agree on {who}, and on all else, "
        "whoever's keys are stolen.",
        sentence,
        f"""
query C, S, p, h, k, C2, S2, p2, h2: bitstring;
    event(ClientDone(C, S, p, h, k)) && event(ServerDone(C2, S2, p2, h2, k))
        ==> {same} && p = p2 && h = h2.
""",
        mutations=mutations,
    )


def changed(
    name: str,
    what: str,
    *changes: tuple[str, str],
    why: str = "",
    verdict: Verdict = Verdict.PROVED,
) -> Mutation:
    """
    A mutation that breaks its claim, or of which it is said why it does not.

    :param name: its name.
    :param what: what is changed, for readers.
    :param changes: a part of the model, and what stands there instead; one or more.
    :param why: why the claim is not broken all the same, if it is not.
    :param verdict: what it is then.
    :return: the mutation.
    """
    (old, new), *also = changes
    return Mutation(name, what, old, new, verdict if why else Verdict.BROKEN, why, tuple(also))


SERVER_UNCHECKED = changed(
    "unchecked-signature", "The client does not check SCC's signature", UNCHECKED_SCC_SIGNATURE
)
CLIENT_UNCHECKED = changed(
    "unchecked-signature",
    "The server does not check CCC's signature",
    ("    if isSignature(credential, s, clientContext, before, part) then owner", "    owner"),
)
WITHOUT_CHI = changed(
    "no-chi", "CHI is left out of the transcript", (UNTIL_CDH, "    (shi, sdh, cdh).")
)
WITHOUT_DIFFIE_HELLMAN = changed(
    "no-diffie-hellman",
    "The shared secret is left out of the key schedule",
    NO_DIFFIE_HELLMAN,
)
