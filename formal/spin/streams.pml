/*
 * Streams that the client opens, one after the other, as the server has place for one at a time.
 *
 * Each side has what thing/core/streams.py has of a stream: a state, which moves by the table that
 * is made from the code; what waits to be sent; what came and is not taken yet. Programs open,
 * accept, write, end, close and stop when they like, and pause by taking nothing; how much they may
 * send is the business of credit.pml. Data go in the first stream, from the client. Messages have the
 * client's names, whoever sends them.
 */

#define CLIENT 0
#define SERVER 1
#define STREAMS 2
#define PLACES 1

#define STREAM AT(standing)
#define AT(of) of[me * STREAMS + n]

#include "tables.pml"

mtype:message = { END }  /* a CDT with the flag END */

chan line[2] = [12] of { mtype:message, byte }  /* on its way to each side; never full */
byte opened[2]                                  /* how many streams each side knows of */

mtype:streamState standing[4] = OVER
bool place[4]                                  /* it takes up a place */
bool asks[4], accepts[4], stops[4]             /* COP, CAC, CST wait to be sent */
bool grants[4]                                 /* CCR does */
bool data[4], ends[4]                          /* so do data, and END behind them */
bool ending[4]                                 /* END follows, or has */
bool inboxData[4], inboxEnd[4], inboxStop[4]   /* what came and was not taken */
bool closed[4]                                 /* END came */
bool halfClosed[4]                             /* it was stopped behind this side's END */
bool discarding[4]                             /* the program has closed it */
bool heard[4]                                  /* the program knows that it is over, or caused it */
bool cut[4]                                    /* some program stopped or closed it */
bool wrote[4], took[4]                         /* what the program gave to send, and got */

inline put(what) {
    line[1 - me]!what, n
}

inline forgetWaiting() {
    AT(data) = false; AT(ends) = false; AT(accepts) = false; AT(grants) = false
}

inline hear() {
    AT(inboxData) = false; AT(inboxEnd) = false; AT(inboxStop) = false;
    AT(heard) = true
}

inline stop() {
    AT(halfClosed) = (AT(standing) == SENT_END);
    streamSteps(STOP);
    forgetWaiting();
    AT(stops) = true; AT(cut) = true;
    hear()
}

/* Closed streams: over when this side's END is out. */
inline settle() {
    if
    :: AT(standing) == SENT_END -> stop()
    :: AT(standing) == OVER -> hear()
    :: else -> skip
    fi
}

inline get() {
    line[me]?k, n;
    if
    :: k == COP ->
        assert(n == opened[me] && place[me * STREAMS] + place[me * STREAMS + 1] < PLACES);
        opened[me]++; AT(place) = true; AT(standing) = ASKED
    :: else ->
        assert(n < opened[me]);
        if
        :: AT(standing) == OVER ->  /* It is forgotten. */
            if
            :: k == CST || (k == END && AT(halfClosed)) ->
                AT(stops) = false; AT(accepts) = false; AT(place) = false
            :: else -> skip
            fi
        :: AT(standing) != OVER && k == CAC ->
            streamSteps(ACCEPTED);
            closeNow = AT(discarding)
        :: AT(standing) != OVER && (k == CDT || k == END) ->
            assert(!AT(closed));
            assert(AT(standing) != ASKING && AT(standing) != ASKING_ENDED);
            AT(inboxData) = !AT(discarding) && (AT(inboxData) || k == CDT);
            if
            :: k == END ->
                AT(closed) = true;
                AT(inboxEnd) = !AT(discarding);
                streamSteps(GET_END);
                AT(place) = AT(place) && AT(standing) != OVER;
                closeNow = AT(discarding)
            :: else -> skip
            fi
        :: AT(standing) != OVER && k == CCR ->
            assert(AT(standing) != ASKING && AT(standing) != ASKING_ENDED)
        :: AT(standing) != OVER && k == CST ->
            if
            :: isUndecided(AT(standing)) -> AT(inboxData) = false; AT(inboxEnd) = false
            :: else -> skip
            fi;
            streamSteps(STOPPED);
            forgetWaiting();
            AT(place) = false;
            AT(inboxStop) = !AT(discarding);
            closeNow = AT(discarding)
        fi
    fi;
    if
    :: closeNow -> settle(); closeNow = false
    :: else -> skip
    fi;
    k = 0
}

inline sendEnd() {
    AT(ends) = false;
    put(END);
    streamSteps(SEND_END);
    if
    :: AT(standing) == OVER -> AT(place) = false
    :: else -> skip
    fi;
    if
    :: AT(discarding) -> settle()
    :: !AT(discarding) && AT(standing) == OVER && !AT(inboxData) && !AT(inboxEnd) -> hear()
    :: else -> skip
    fi
}

inline take() {
    if
    :: AT(inboxData) ->
        AT(inboxData) = false;
        AT(took) = true;
        AT(grants) = !AT(closed) && AT(standing) != OVER
    :: !AT(inboxData) && AT(inboxEnd) ->
        AT(inboxEnd) = false;
        if
        :: AT(standing) == OVER && !AT(inboxStop) -> hear()
        :: else -> skip
        fi
    :: else -> hear()  /* It was stopped by the peer. */
    fi
}

inline close() {
    AT(discarding) = true; AT(cut) = true;
    AT(inboxData) = false; AT(inboxEnd) = false; AT(inboxStop) = false;
    if
    :: isWriting(AT(standing)) && !AT(ending) -> AT(ending) = true; AT(ends) = true
    :: isWriting(AT(standing)) && AT(ending) -> skip
    :: isUndecided(AT(standing)) -> stop()
    :: else -> settle()
    fi
}

/* What comes in, for each side. */
active [2] proctype receiver() {
    byte me = _pid, n;
    mtype:message k;
    bool closeNow;
end:
    do
    :: d_step { nempty(line[me]) -> get(); n = 0 }
    od
}

/* What else each side does about each stream. */
active [4] proctype side() {
    byte me = _pid % 2, n = _pid / 2 - 1;
end:
    do
    /* What waits to be sent: all about streams before data. */
    :: d_step { AT(asks) -> AT(asks) = false; put(COP) }
    :: d_step { AT(accepts) -> AT(accepts) = false; put(CAC) }
    :: d_step { AT(stops) && !AT(asks) -> AT(stops) = false; put(CST); AT(place) = false }
    :: d_step { AT(grants) && !AT(accepts) -> AT(grants) = false; put(CCR) }
    :: d_step { AT(data) && !AT(asks) && !AT(accepts) -> AT(data) = false; put(CDT) }
    :: d_step { AT(ends) && !AT(data) && !AT(asks) && !AT(accepts) -> sendEnd() }

    /* The program. */
    :: d_step {
        me == CLIENT && opened[me] == n && place[0] + place[1] < PLACES ->
        opened[me]++; AT(place) = true; AT(standing) = ASKING; AT(asks) = true }
    :: d_step { isUndecided(AT(standing)) -> streamSteps(ACCEPT); AT(accepts) = true }
    :: d_step {
        n == 0 && me == CLIENT && isWriting(AT(standing)) && !AT(ending) && !AT(wrote) ->
        AT(wrote) = true; AT(data) = true }
    :: d_step { isWriting(AT(standing)) && !AT(ending) -> AT(ending) = true; AT(ends) = true }
    :: d_step {
        !isUndecided(AT(standing)) && (AT(inboxData) || AT(inboxEnd) || AT(inboxStop)) -> take() }
    :: d_step { n < opened[me] && !AT(heard) && !AT(discarding) -> close() }
    :: d_step { AT(standing) != OVER && !AT(discarding) -> stop() }
    od
}

#define isOver(me, n) (opened[me] > n && standing[me * STREAMS + n] == OVER && \
                       heard[me * STREAMS + n] && !place[me * STREAMS + n])
#define isCut(n) (cut[n] || cut[STREAMS + n])

/* A stream that is over for all: nothing was lost of it, unless somebody wanted no more. */
inline review(n) {
    judged[n] == false && isOver(CLIENT, n) && isOver(SERVER, n) ->
    assert(isCut(n) || (took[n] == wrote[STREAMS + n] && took[STREAMS + n] == wrote[n]));
    judged[n] = true;
    wrote[n] = false; took[n] = false; cut[n] = false;
    ending[n] = false; discarding[n] = false; closed[n] = false; halfClosed[n] = false;
    wrote[STREAMS + n] = false; took[STREAMS + n] = false; cut[STREAMS + n] = false;
    ending[STREAMS + n] = false; discarding[STREAMS + n] = false; closed[STREAMS + n] = false;
    halfClosed[STREAMS + n] = false
}

/* When nothing more can happen, all were opened and are over for all. */
active proctype judge() {
    bool judged[STREAMS];
    do
    :: d_step { review(0) }
    :: d_step { review(1) }
    :: timeout -> assert(judged[0] && judged[1]); break
    od
}
