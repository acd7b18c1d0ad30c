/*
 * Credit and turns: one side sends in several streams, the other grants, as its programs take.
 *
 * What one may spend is counted in units: a record costs one, and one more if it has data; so the
 * least window of a stream has two. Of absolute numbers only their differences are kept: what the
 * sender may still spend, what is on its way, what is not taken yet, and what was granted and is
 * on its way back; together they are the window. The first stream is the main one: its records with
 * data are not split. Every program has data for ever; one that pauses takes nothing, for ever or
 * not. With GROWING the windows of others grow and fall back, at any moment.
 */

#include "tables.pml"

#ifdef GROWING
#define STREAMS 2
#define MOST (2 * MIN_WINDOW)
#define LENGTH 2
#else
#define STREAMS 3
#define MOST MIN_WINDOW
#define LENGTH 1
#endif
#define WHOLE 3  /* the costliest record of the main stream, which is not split */
#define MAIN WHOLE  /* its window */

chan line = [LENGTH] of { byte, byte }           /* a stream, and what its record cost */
chan back = [LENGTH] of { byte, byte }           /* a stream, and how much more it may spend */
chan turns = [STREAMS] of { byte }          /* the streams with data and credit, in turn */
chan inbox[STREAMS] = [2 * MIN_WINDOW] of { byte }

byte left[STREAMS] = MIN_WINDOW             /* the sender: what it may spend */
byte next[STREAMS] = 1                      /* what its next record costs */
bool inTurn[STREAMS]
byte passed[STREAMS]                        /* how many others went since its turn came */
byte room[STREAMS] = MIN_WINDOW             /* the receiver: what may still come */
byte held[STREAMS]                          /* what is not taken yet */
byte size[STREAMS] = MIN_WINDOW             /* the window */
byte granted[STREAMS]                       /* what it will tell the sender of, all in one */
byte flying[STREAMS]                        /* what of both is on its way */

/* A stream gets its turns if it has the credit for what is next. */
inline wake() {
    if
    :: !inTurn[n] && left[n] >= next[n] -> inTurn[n] = true; turns!n; passed[n] = 0
    :: else -> skip
    fi
}

/* With nothing of a stream under way the sender has what it needs: else it would wait for ever. */
inline checkStuck() {
    assert(held[n] > 0 || flying[n] > 0 || granted[n] > 0 || left[n] >= next[n])
}

inline countTurn() {
    for (i : 0 .. STREAMS - 1) {
        if
        :: i != n && inTurn[i] -> passed[i]++; assert(passed[i] < STREAMS)
        :: else -> skip
        fi
    }
    i = 0
}

active proctype sender() {
    byte n, i, more;
    d_step {
        left[0] = MAIN; room[0] = MAIN; size[0] = MAIN;
        for (n : 0 .. STREAMS - 1) { wake() }
        n = 0 };
    do
    :: atomic {
        nempty(turns) && nfull(line) -> turns?n;
        inTurn[n] = false;
        assert(left[n] >= next[n]);
        left[n] = left[n] - next[n];
        flying[n]++;
        line!n, next[n];
        countTurn();
        if
        :: next[n] = 1
        :: next[n] = (n == 0 -> WHOLE : 2)
        fi;
        wake();
        n = 0 }
    :: d_step {
        nempty(back) -> back?n, more;
        flying[n]--;
        left[n] = left[n] + more;
        wake();
        checkStuck();
        n = 0; more = 0 }
    od
}

/* Always read, whatever is taken. */
active proctype receiver() {
    byte n, cost;
    do
    :: d_step {
        nempty(line) -> line?n, cost;
        flying[n]--;
        assert(cost <= room[n]);  /* never beyond the credit */
        room[n] = room[n] - cost; held[n] = held[n] + cost;
        inbox[n]!cost;
        n = 0; cost = 0 }
    od
}

#define gained(n) (size[n] - room[n] - held[n])

/* A program takes a record, and the window says what that makes room for: by its half, or early. */
inline consume() {
    inbox[n]?cost;
    held[n] = held[n] - cost;
    due = size[n] > room[n] + held[n] && (2 * gained(n) >= size[n] || early);
    if
    :: due || (n == 0 && held[n] == 0 && room[n] < WHOLE) ->
        if
        :: scarce -> size[n] = (n == 0 -> MAIN : MIN_WINDOW)
        :: !scarce && due && quick && n != 0 && size[n] < MOST -> size[n] = 2 * size[n]
        :: else -> skip
        fi;
        if
        :: size[n] > room[n] + held[n] ->
            granted[n] = granted[n] + gained(n);
            room[n] = room[n] + gained(n)
        :: else -> skip
        fi
    :: else -> skip
    fi;
    checkStuck();
    cost = 0; due = false; early = false; scarce = false; quick = false
}

active [STREAMS] proctype program() {
    byte n = _pid - 2, cost;
    bool due, early, scarce, quick;
    do
    :: atomic {
        nempty(inbox[n]) ->
        if
        :: early = true
        :: skip
        fi;
#ifdef GROWING
        if
        :: scarce = true
        :: quick = true
        :: skip
        fi;
#endif
        consume() }
    :: d_step {
        granted[n] > 0 && nfull(back) ->
        back!n, granted[n]; flying[n]++; granted[n] = 0 }
    od
}
