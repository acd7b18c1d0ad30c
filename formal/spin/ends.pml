/*
 * The machine of ends: a client, a server, and all that can come between them.
 *
 * Each side has what thing/core has: a state, which moves by the table that is made from the code;
 * what waits to be sent, in the order of sending; what was received and is not taken yet; and its
 * deadlines. A program that pauses is one that takes nothing for a while. Time is left out: a
 * deadline that is set may pass at any moment. So are keys: a record that was changed on its way,
 * or put there by a stranger, is one that does not open.
 *
 * With PEACE nobody disturbs, nobody gives up and no deadline passes: only goodbyes, and how they
 * cross. Without it, one misfortune befalls the lines in each run, and anybody may give up.
 */

#define CLIENT 0
#define SERVER 1

#include "tables.pml"

mtype:message = { CHANGED, FORGED }     /* a record that does not open; a reject of a stranger's */
mtype:fate = { FINE, BROKEN, SILENT }   /* of a line: what is on its way may be lost, and it ends;
                                           or nothing more comes, without an end */
mtype:reason = { SHUTDOWN, REVOKED }

#define SIZE 8      /* no line is ever full: that would be an error */
#define REQUESTS 2  /* to end the session in order, of both programs together */

/* What is on its way to each side, what has become of the line, and whether its end follows. */
chan line[2] = [SIZE] of { mtype:message }
mtype:fate fate[2] = FINE
bool closed[2]

/* Each side: thing.core.connection and what builds on it. */
mtype:state state[2] = IDLE
bool up[2], proved[2]              /* the session is there; the peer has proved who it is */
bool watched[2], limited[2]        /* the peer's silence counts; there is a deadline */
bool waiting[2]                    /* a record of data waits to be sent */
mtype:message other[2]             /* a message of some other kind waits */
bool farewell[2]                   /* CGB or SGB waits, behind them */
chan inbox[2] = [3] of { mtype:message }
bool parting[2]                    /* the peer's farewell is in the inbox, or has been */
bool outstanding                   /* a CHB has no answer yet */
bool sga                           /* SGA waits to be sent */
bool retried, asked                /* the server asked for a retry; the SHI on its way does */
mtype:reason away                  /* why the client was asked to leave, if it was */

/* What each program did and was told. */
byte written[2], taken[2]          /* records that it gave to send, and that it got */
mtype:cause told[2]                /* how the session ended */
bool said                          /* one message of some other kind in each run */
byte requests

#define isOver(me) (told[me] != 0)

/* A side hands something to the transport. */
inline put(to, what) {
    if
    :: fate[to] == FINE && !closed[to] && !isOver(to) -> line[to]!what
    :: else -> skip
    fi
}

/* ---- The ways to the end: by a word of this side's, without one, by the peer's ---- */

inline tell(me, cause) {
    assert(!isOver(me));  /* of exactly one end */
    told[me] = cause;
    state[me] = ENDED;
    watched[me] = false; limited[me] = false;
    waiting[me] = false; other[me] = 0; farewell[me] = false
}

inline endSaying(me, peer, word, cause) {
    put(peer, word);
    closed[peer] = true;
    tell(me, cause)
}

inline endCutting(me, peer, cause) {
    if
    :: fate[peer] == FINE -> fate[peer] = BROKEN
    :: else -> skip
    fi;
    tell(me, cause)
}

inline endTold(me, peer, cause) {
    closed[peer] = true;
    tell(me, cause)
}

/* The peer said why: it has ended by itself, unless a stranger did before anybody was proved. */
inline rejected(me, peer) {
    assert(isOver(peer) || (m == FORGED && !up[me]));
    if
    :: !up[me] -> endTold(me, peer, BY_REJECTED)
    :: up[me] && told[peer] == BY_PROTOCOL_ERROR -> endTold(me, peer, BY_PROTOCOL_ERROR)
    :: else -> endTold(me, peer, BY_ABORTED)
    fi
}

/* What came whole and in order before the end is taken. */
inline takeRest(me) {
    do
    :: nempty(inbox[me]) ->
        inbox[me]?m;
        if
        :: m == CGB || m == SGB || dropped -> skip
        :: else -> taken[me]++
        fi
    :: empty(inbox[me]) -> break
    od
}

/* Clean: all that either side wrote has come, and the client knows so if the server does. */
inline checkEnd(me) {
    assert(told[me] != BY_GOODBYE ||
           (written[CLIENT] == taken[SERVER] && written[SERVER] == taken[CLIENT] &&
            (me == CLIENT || told[CLIENT] == BY_GOODBYE)))
}

/* After the end: so it is, unless this side's program ended the session and wants nothing more. */
inline settle(me) {
    takeRest(me);
    do
    :: nempty(line[me]) -> line[me]?m
    :: empty(line[me]) -> break
    od;
    m = 0;
    checkEnd(me)
}

/* Nobody waits for ever: there is a deadline, or the peer's silence counts. */
inline checkWait(me) {
    assert(isOver(me) || limited[me] || (watched[me] && isWatched(state[me])))
}

inline establish(me) {
    up[me] = true; watched[me] = true; limited[me] = false
}

/* The one message of some other kind, which waits its turn. */
inline say(me, what, when) {
    !said && when -> said = true; other[me] = what; written[me] = written[me] + (isInOrder(what) || what == CRP || what == SRP)
}

/* ---- The client ---- */

inline clientLeaves() {
    if
    :: state[CLIENT] == LEAVING && !limited[CLIENT] ->
        farewell[CLIENT] = true; limited[CLIENT] = true
    :: else -> skip
    fi
}

inline clientGets() {
    line[CLIENT]?m;
    if
    :: m == CHANGED || (m == FORGED && proved[CLIENT]) ->
        endSaying(CLIENT, SERVER, CHR, (up[CLIENT] -> BY_PROTOCOL_ERROR : BY_REJECTED))
    :: m == FORGED && !proved[CLIENT] -> rejected(CLIENT, SERVER)
    :: up[CLIENT] && isInOrder(m) ->
        assert(!parting[CLIENT]);
        inbox[CLIENT]!m;
        parting[CLIENT] = (m == SGB);
        watched[CLIENT] = watched[CLIENT] && !parting[CLIENT]
    :: else ->
        clientReceives(m);
        if
        :: m == SHI && asked -> asked = false; clientSteps(RETRY)
        :: m == SDH -> put(SERVER, CDH)
        :: m == SCC -> proved[CLIENT] = true
        :: m == SHF -> establish(CLIENT)
        :: m == SRP -> assert(!parting[CLIENT]); taken[CLIENT]++
        :: m == SUU -> assert(outstanding); outstanding = false
        :: m == SGA -> watched[CLIENT] = false; clientLeaves()
        :: m == SFL -> endTold(CLIENT, SERVER, BY_FLAT_LINED);
            assert(told[SERVER] == BY_FLAT_LINED)
        :: m == SHR -> rejected(CLIENT, SERVER)
        :: else -> skip
        fi
    fi
}


active proctype client() {
    mtype:message m;
    bool dropped;
    d_step { clientSteps(START); limited[CLIENT] = true; put(SERVER, CHI) };
    do
    :: d_step { isOver(CLIENT) -> settle(CLIENT) }; break

    /* The line, and its end. */
    :: atomic {
        !isOver(CLIENT) && nempty(line[CLIENT]) -> clientGets(); m = 0; checkWait(CLIENT) }
    :: d_step {
        !isOver(CLIENT) && (fate[CLIENT] == BROKEN || (closed[CLIENT] && empty(line[CLIENT]))) ->
        if
        :: parting[CLIENT] ->
            takeRest(CLIENT); endSaying(CLIENT, SERVER, CFL, BY_GOODBYE)
        :: else -> endTold(CLIENT, SERVER, BY_TRUNCATED)
        fi }

    /* What is taken, in order. */
    :: d_step {
        !isOver(CLIENT) && nempty(inbox[CLIENT]) ->
        inbox[CLIENT]?m;
        clientReceives(m);
        if
        :: m == SGB -> endSaying(CLIENT, SERVER, CFL, BY_GOODBYE)
        :: else -> taken[CLIENT]++
        fi;
        m = 0 }

    /* What waits to be sent: what is urgent or about streams, data, the farewell. */
    :: d_step { other[CLIENT] != 0 -> put(SERVER, other[CLIENT]); other[CLIENT] = 0 }
    :: d_step { other[CLIENT] == 0 && waiting[CLIENT] -> put(SERVER, CDT); waiting[CLIENT] = false }
    :: d_step {
        other[CLIENT] == 0 && !waiting[CLIENT] && farewell[CLIENT] ->
        farewell[CLIENT] = false; clientSteps(FLUSHED); put(SERVER, CGB); checkWait(CLIENT) }

    /* The program. */
    :: d_step { state[CLIENT] == SOLVING -> clientSteps(SOLVED); put(SERVER, CHI) }
    :: d_step { state[CLIENT] == AUTHORIZING -> clientSteps(ADMIT); put(SERVER, CCC) }
    :: d_step {
        isWritable(state[CLIENT]) && written[CLIENT] == 0 ->
        waiting[CLIENT] = true; written[CLIENT]++ }
    :: d_step {
        up[CLIENT] && !isOver(CLIENT) && requests < REQUESTS ->
        requests++; clientSteps(GOODBYE); clientLeaves(); checkWait(CLIENT) }

#ifdef PEACE
    :: d_step { say(CLIENT, CRQ, isWritable(state[CLIENT])) }
    :: d_step { say(CLIENT, CRP, isWritable(state[CLIENT])) }
    :: d_step { say(CLIENT, CLW, isWritable(state[CLIENT])) }
    :: d_step { say(CLIENT, COP, state[CLIENT] == ESTABLISHED) }
    :: d_step { say(CLIENT, CAC, isWritable(state[CLIENT])) }
    :: d_step { say(CLIENT, CST, isEstablished(state[CLIENT])) }
    :: d_step { say(CLIENT, CCR, isEstablished(state[CLIENT])) }
    :: d_step { say(CLIENT, CKU, isEstablished(state[CLIENT])) }
    :: d_step {
        say(CLIENT, CHB, isBeating(state[CLIENT]) && watched[CLIENT]); outstanding = true }
#else
    :: d_step {
        !isOver(CLIENT) -> dropped = true;
        endSaying(CLIENT, SERVER, CHR, (up[CLIENT] -> BY_ABORTED : BY_REJECTED)) }
    :: d_step { !isOver(CLIENT) -> dropped = true; endCutting(CLIENT, SERVER, BY_ABORTED) }

    /* The clock. */
    :: d_step {
        limited[CLIENT] ->
        if
        :: up[CLIENT] -> endCutting(CLIENT, SERVER, BY_ABORTED)
        :: else -> endSaying(CLIENT, SERVER, CHR, BY_REJECTED)
        fi }
    :: d_step {
        watched[CLIENT] && isWatched(state[CLIENT]) -> endCutting(CLIENT, SERVER, BY_LAPSED) }
#endif
    od
}

/* ---- The server ---- */

#define unauthorized (away == REVOKED)
#define isKeyless (state[SERVER] == AWAIT_SECOND_CHI || state[SERVER] == AWAIT_CDH)

inline serverCloses() {
    if
    :: !unauthorized -> limited[SERVER] = true
    :: else -> assert(limited[SERVER])  /* That of its going away. */
    fi
}

inline serverGets() {
    line[SERVER]?m;
    if
    :: m == CHANGED || (m == FORGED && !isKeyless) ||
       (m == CHR && up[SERVER] && !up[CLIENT]) ->  /* It is under the handshake's key. */
        endSaying(SERVER, CLIENT, SHR, (up[SERVER] -> BY_PROTOCOL_ERROR : BY_REJECTED))
    :: m == FORGED && isKeyless -> rejected(SERVER, CLIENT)
    :: up[SERVER] && isInOrder(m) ->
        assert(!parting[SERVER]);
        inbox[SERVER]!m;
        parting[SERVER] = (m == CGB);
        if
        :: parting[SERVER] && state[SERVER] == GOING_AWAY -> serverCloses()
        :: else -> skip
        fi
    :: else ->
        serverReceives(m);
        if
        :: m == CHI -> put(CLIENT, SHI);
            if
            :: !retried -> retried = true; asked = true; serverSteps(RETRY)
            :: put(CLIENT, SDH)
            fi
        :: m == CDH -> put(CLIENT, SCC); retried = false
        :: m == CCC -> proved[SERVER] = true
        :: m == CHB && watched[SERVER] && state[SERVER] != AWAIT_CFL ->
            assert(other[SERVER] == 0); other[SERVER] = SUU
        :: m == CRP -> assert(!parting[SERVER]); taken[SERVER]++
        :: m == CFL -> endTold(SERVER, CLIENT, BY_GOODBYE)
        :: m == CHR -> rejected(SERVER, CLIENT)
        :: else -> skip
        fi
    fi
}

inline goAway(why) {
    serverSteps(GO_AWAY);
    leaving = state[SERVER] != GOING_AWAY || parting[SERVER];
    if
    :: leaving && why != REVOKED -> limited[SERVER] = true
    :: else ->
        first = !leaving && away == 0;
        if
        :: (!limited[SERVER] || sooner || why == REVOKED) && !unauthorized -> away = why
        :: else -> skip
        fi;
        limited[SERVER] = true;
        if
        :: first -> assert(!parting[SERVER]); sga = true; watched[SERVER] = false
        :: else -> skip
        fi
    fi
}

active proctype server() {
    mtype:message m;
    mtype:reason why;
    bool first, leaving, sooner, dropped;
    d_step { serverSteps(START); limited[SERVER] = true };
    do
    :: d_step { isOver(SERVER) -> settle(SERVER); sga = false }; break

    /* The line, and its end. */
    :: atomic {
        !isOver(SERVER) && nempty(line[SERVER]) -> serverGets(); m = 0; checkWait(SERVER) }
    :: d_step {
        !isOver(SERVER) && (fate[SERVER] == BROKEN || (closed[SERVER] && empty(line[SERVER]))) ->
        endTold(SERVER, CLIENT, BY_TRUNCATED) }

    /* What is taken, in order. */
    :: d_step {
        !isOver(SERVER) && nempty(inbox[SERVER]) ->
        inbox[SERVER]?m;
        serverReceives(m);
        if
        :: m == CGB -> farewell[SERVER] = true; serverCloses()
        :: else -> taken[SERVER]++
        fi;
        m = 0; checkWait(SERVER) }

    /* What waits to be sent. */
    :: d_step { sga && !isOver(SERVER) -> sga = false; put(CLIENT, SGA) }
    :: d_step { !sga && other[SERVER] != 0 -> put(CLIENT, other[SERVER]); other[SERVER] = 0 }
    :: d_step {
        !sga && other[SERVER] == 0 && waiting[SERVER] ->
        put(CLIENT, SDT); waiting[SERVER] = false }
    :: d_step {
        !sga && other[SERVER] == 0 && !waiting[SERVER] && farewell[SERVER] ->
        farewell[SERVER] = false; serverSteps(FLUSHED); put(CLIENT, SGB); checkWait(SERVER) }

    /* The program. */
    :: d_step {
        state[SERVER] == AUTHORIZING -> serverSteps(ADMIT); put(CLIENT, SHF); establish(SERVER) }
    :: d_step {
        isWritable(state[SERVER]) && written[SERVER] == 0 ->
        waiting[SERVER] = true; written[SERVER]++ }
    :: atomic {
        up[SERVER] && !isOver(SERVER) && requests < REQUESTS ->
        requests++;
        if
        :: sooner = true
        :: sooner = false
        fi;
        if
        :: why = SHUTDOWN
        :: why = REVOKED
        fi;
        goAway(why);
        first = false; leaving = false; sooner = false; why = 0;
        checkWait(SERVER) }

#ifdef PEACE
    :: d_step { say(SERVER, SRQ, isWritable(state[SERVER])) }
    :: d_step { say(SERVER, SRP, isWritable(state[SERVER])) }
    :: d_step { say(SERVER, SNK, state[SERVER] == ESTABLISHED) }
    :: d_step { say(SERVER, SOP, state[SERVER] == ESTABLISHED) }
    :: d_step { say(SERVER, SAC, isWritable(state[SERVER])) }
    :: d_step { say(SERVER, SST, isWatched(state[SERVER])) }
    :: d_step { say(SERVER, SCR, isWatched(state[SERVER])) }
    :: d_step { say(SERVER, SKU, isWatched(state[SERVER])) }
#else
    :: d_step {
        !isOver(SERVER) -> dropped = true;
        endSaying(SERVER, CLIENT, SHR, (up[SERVER] -> BY_ABORTED : BY_REJECTED)) }
    :: d_step { !isOver(SERVER) -> dropped = true; endCutting(SERVER, CLIENT, BY_ABORTED) }

    /* The clock. */
    :: d_step {
        limited[SERVER] ->
        if
        :: (state[SERVER] == GOING_AWAY && !parting[SERVER]) ||
           (unauthorized && state[SERVER] != AWAIT_CFL) ->
            endSaying(SERVER, CLIENT, SFL, BY_FLAT_LINED)
        :: else ->
            if
            :: up[SERVER] -> endCutting(SERVER, CLIENT, BY_ABORTED)
            :: else -> endSaying(SERVER, CLIENT, SHR, BY_REJECTED)
            fi
        fi }
    :: d_step {
        watched[SERVER] && isWatched(state[SERVER]) ->
        endSaying(SERVER, CLIENT, SFL, BY_FLAT_LINED) }
#endif
    od
}

#ifdef PEACE

/* When nothing more can happen, both were told, and of a goodbye. */
active proctype judge() {
    timeout -> assert(told[CLIENT] == BY_GOODBYE && told[SERVER] == BY_GOODBYE)
}

#else

/* One misfortune, at any moment, or none. */
active proctype network() {
end:
    if
    :: fate[CLIENT] == FINE -> fate[CLIENT] = BROKEN
    :: fate[SERVER] == FINE -> fate[SERVER] = BROKEN
    :: d_step { fate[CLIENT] == FINE && fate[SERVER] == FINE ->
        fate[CLIENT] = BROKEN; fate[SERVER] = BROKEN }
    :: fate[CLIENT] == FINE -> fate[CLIENT] = SILENT
    :: fate[SERVER] == FINE -> fate[SERVER] = SILENT
    :: d_step { fate[CLIENT] == FINE && fate[SERVER] == FINE ->
        fate[CLIENT] = SILENT; fate[SERVER] = SILENT }
    :: d_step { put(CLIENT, CHANGED) }
    :: d_step { put(SERVER, CHANGED) }
    :: d_step { put(CLIENT, FORGED) }
    :: d_step { put(SERVER, FORGED) }
    fi
}

#endif
