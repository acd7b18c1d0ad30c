/*
 * The tables of states, written by tables.py from thing/core: do not edit.
 *
 * What is not in a table is an error of whoever brought it about; here that must not happen.
 */


mtype:message = {
    CHI, SHI, SDH, CDH, SCC, CCC, SHF, CHB, SUU, CGB, SGB, CFL, SFL, SGA, CDT, SDT, CRQ, SRQ, CRP, SRP, CLW, CCR, SCR, COP, SOP, CAC, SAC, CST, SST, CKU, SKU, SNK, CHR, SHR
}

mtype:state = {
    IDLE, AWAIT_CHI, AWAIT_SECOND_CHI, AWAIT_SHI, SOLVING, AWAIT_SECOND_SHI, AWAIT_SDH, AWAIT_CDH, AWAIT_SCC, AWAIT_CCC, AUTHORIZING, AWAIT_SHF, ESTABLISHED, GOING_AWAY, LEAVING, AWAIT_SGB, CLOSING, AWAIT_CFL, ENDED
}

mtype:step = {
    START, RETRY, SOLVED, ADMIT, GOODBYE, GO_AWAY, FLUSHED
}

mtype:cause = {
    BY_GOODBYE, BY_FLAT_LINED, BY_LAPSED, BY_TRUNCATED, BY_REJECTED, BY_PROTOCOL_ERROR, BY_ABORTED
}

mtype:streamState = {
    ASKING, ASKING_ENDED, ASKED, ASKED_ENDED, OPEN, SENT_END, GOT_END, OVER
}

mtype:streamStep = {
    ACCEPT, ACCEPTED, SEND_END, GET_END, STOP, STOPPED
}

#define isEstablished(x) ((x) == ESTABLISHED || (x) == GOING_AWAY || (x) == LEAVING || (x) == AWAIT_SGB || (x) == CLOSING || (x) == AWAIT_CFL)
#define isWritable(x) ((x) == ESTABLISHED || (x) == GOING_AWAY)
#define isBeating(x) ((x) == ESTABLISHED || (x) == LEAVING || (x) == AWAIT_SGB)
#define isWatched(x) ((x) == ESTABLISHED || (x) == GOING_AWAY || (x) == LEAVING || (x) == AWAIT_SGB || (x) == CLOSING)
#define isUndecided(x) ((x) == ASKED || (x) == ASKED_ENDED)
#define isWriting(x) ((x) == ASKING || (x) == OPEN || (x) == GOT_END)
#define isInOrder(x) ((x) == CGB || (x) == SGB || (x) == CDT || (x) == SDT || (x) == CRQ || (x) == SRQ || (x) == CLW)

#define MIN_WINDOW 2  /* a stream's, in records */

#define illegal() assert(false)

inline clientReceives(input) {
    if
    :: state[CLIENT] == AWAIT_SHI ->
        if
        :: input == SHI -> state[CLIENT] = AWAIT_SDH
        :: input == SHR -> state[CLIENT] = ENDED
        :: else -> illegal()
        fi
    :: state[CLIENT] == SOLVING ->
        if
        :: input == SHR -> state[CLIENT] = ENDED
        :: else -> illegal()
        fi
    :: state[CLIENT] == AWAIT_SECOND_SHI ->
        if
        :: input == SHI -> state[CLIENT] = AWAIT_SDH
        :: input == SHR -> state[CLIENT] = ENDED
        :: else -> illegal()
        fi
    :: state[CLIENT] == AWAIT_SDH ->
        if
        :: input == SDH -> state[CLIENT] = AWAIT_SCC
        :: input == SHR -> state[CLIENT] = ENDED
        :: else -> illegal()
        fi
    :: state[CLIENT] == AWAIT_SCC ->
        if
        :: input == SCC -> state[CLIENT] = AUTHORIZING
        :: input == SHR -> state[CLIENT] = ENDED
        :: else -> illegal()
        fi
    :: state[CLIENT] == AUTHORIZING ->
        if
        :: input == SHR -> state[CLIENT] = ENDED
        :: else -> illegal()
        fi
    :: state[CLIENT] == AWAIT_SHF ->
        if
        :: input == SHF -> state[CLIENT] = ESTABLISHED
        :: input == SHR -> state[CLIENT] = ENDED
        :: else -> illegal()
        fi
    :: state[CLIENT] == ESTABLISHED ->
        if
        :: input == SUU -> state[CLIENT] = ESTABLISHED
        :: input == SDT -> state[CLIENT] = ESTABLISHED
        :: input == SRQ -> state[CLIENT] = ESTABLISHED
        :: input == SRP -> state[CLIENT] = ESTABLISHED
        :: input == SCR -> state[CLIENT] = ESTABLISHED
        :: input == SOP -> state[CLIENT] = ESTABLISHED
        :: input == SAC -> state[CLIENT] = ESTABLISHED
        :: input == SST -> state[CLIENT] = ESTABLISHED
        :: input == SKU -> state[CLIENT] = ESTABLISHED
        :: input == SNK -> state[CLIENT] = ESTABLISHED
        :: input == SGA -> state[CLIENT] = LEAVING
        :: input == SFL -> state[CLIENT] = ENDED
        :: input == SHR -> state[CLIENT] = ENDED
        :: else -> illegal()
        fi
    :: state[CLIENT] == LEAVING ->
        if
        :: input == SUU -> state[CLIENT] = LEAVING
        :: input == SDT -> state[CLIENT] = LEAVING
        :: input == SRQ -> state[CLIENT] = LEAVING
        :: input == SRP -> state[CLIENT] = LEAVING
        :: input == SCR -> state[CLIENT] = LEAVING
        :: input == SOP -> state[CLIENT] = LEAVING
        :: input == SAC -> state[CLIENT] = LEAVING
        :: input == SST -> state[CLIENT] = LEAVING
        :: input == SKU -> state[CLIENT] = LEAVING
        :: input == SNK -> state[CLIENT] = LEAVING
        :: input == SGA -> state[CLIENT] = LEAVING
        :: input == SFL -> state[CLIENT] = ENDED
        :: input == SHR -> state[CLIENT] = ENDED
        :: else -> illegal()
        fi
    :: state[CLIENT] == AWAIT_SGB ->
        if
        :: input == SUU -> state[CLIENT] = AWAIT_SGB
        :: input == SDT -> state[CLIENT] = AWAIT_SGB
        :: input == SRQ -> state[CLIENT] = AWAIT_SGB
        :: input == SRP -> state[CLIENT] = AWAIT_SGB
        :: input == SCR -> state[CLIENT] = AWAIT_SGB
        :: input == SOP -> state[CLIENT] = AWAIT_SGB
        :: input == SAC -> state[CLIENT] = AWAIT_SGB
        :: input == SST -> state[CLIENT] = AWAIT_SGB
        :: input == SKU -> state[CLIENT] = AWAIT_SGB
        :: input == SNK -> state[CLIENT] = AWAIT_SGB
        :: input == SGA -> state[CLIENT] = AWAIT_SGB
        :: input == SGB -> state[CLIENT] = ENDED
        :: input == SFL -> state[CLIENT] = ENDED
        :: input == SHR -> state[CLIENT] = ENDED
        :: else -> illegal()
        fi
    :: else -> illegal()
    fi
}

inline clientSteps(input) {
    if
    :: state[CLIENT] == IDLE ->
        if
        :: input == START -> state[CLIENT] = AWAIT_SHI
        :: else -> illegal()
        fi
    :: state[CLIENT] == SOLVING ->
        if
        :: input == SOLVED -> state[CLIENT] = AWAIT_SECOND_SHI
        :: else -> illegal()
        fi
    :: state[CLIENT] == AWAIT_SDH ->
        if
        :: input == RETRY -> state[CLIENT] = SOLVING
        :: else -> illegal()
        fi
    :: state[CLIENT] == AUTHORIZING ->
        if
        :: input == ADMIT -> state[CLIENT] = AWAIT_SHF
        :: else -> illegal()
        fi
    :: state[CLIENT] == ESTABLISHED ->
        if
        :: input == GOODBYE -> state[CLIENT] = LEAVING
        :: else -> illegal()
        fi
    :: state[CLIENT] == LEAVING ->
        if
        :: input == GOODBYE -> state[CLIENT] = LEAVING
        :: input == FLUSHED -> state[CLIENT] = AWAIT_SGB
        :: else -> illegal()
        fi
    :: state[CLIENT] == AWAIT_SGB ->
        if
        :: input == GOODBYE -> state[CLIENT] = AWAIT_SGB
        :: else -> illegal()
        fi
    :: else -> illegal()
    fi
}

inline serverReceives(input) {
    if
    :: state[SERVER] == AWAIT_CHI ->
        if
        :: input == CHI -> state[SERVER] = AWAIT_CDH
        :: else -> illegal()
        fi
    :: state[SERVER] == AWAIT_SECOND_CHI ->
        if
        :: input == CHI -> state[SERVER] = AWAIT_CDH
        :: input == CHR -> state[SERVER] = ENDED
        :: else -> illegal()
        fi
    :: state[SERVER] == AWAIT_CDH ->
        if
        :: input == CDH -> state[SERVER] = AWAIT_CCC
        :: input == CHR -> state[SERVER] = ENDED
        :: else -> illegal()
        fi
    :: state[SERVER] == AWAIT_CCC ->
        if
        :: input == CCC -> state[SERVER] = AUTHORIZING
        :: input == CHR -> state[SERVER] = ENDED
        :: else -> illegal()
        fi
    :: state[SERVER] == AUTHORIZING ->
        if
        :: input == CHR -> state[SERVER] = ENDED
        :: else -> illegal()
        fi
    :: state[SERVER] == ESTABLISHED ->
        if
        :: input == CHB -> state[SERVER] = ESTABLISHED
        :: input == CDT -> state[SERVER] = ESTABLISHED
        :: input == CRQ -> state[SERVER] = ESTABLISHED
        :: input == CRP -> state[SERVER] = ESTABLISHED
        :: input == CLW -> state[SERVER] = ESTABLISHED
        :: input == CCR -> state[SERVER] = ESTABLISHED
        :: input == COP -> state[SERVER] = ESTABLISHED
        :: input == CAC -> state[SERVER] = ESTABLISHED
        :: input == CST -> state[SERVER] = ESTABLISHED
        :: input == CKU -> state[SERVER] = ESTABLISHED
        :: input == CGB -> state[SERVER] = CLOSING
        :: input == CHR -> state[SERVER] = ENDED
        :: else -> illegal()
        fi
    :: state[SERVER] == GOING_AWAY ->
        if
        :: input == CHB -> state[SERVER] = GOING_AWAY
        :: input == CDT -> state[SERVER] = GOING_AWAY
        :: input == CRQ -> state[SERVER] = GOING_AWAY
        :: input == CRP -> state[SERVER] = GOING_AWAY
        :: input == CLW -> state[SERVER] = GOING_AWAY
        :: input == CCR -> state[SERVER] = GOING_AWAY
        :: input == COP -> state[SERVER] = GOING_AWAY
        :: input == CAC -> state[SERVER] = GOING_AWAY
        :: input == CST -> state[SERVER] = GOING_AWAY
        :: input == CKU -> state[SERVER] = GOING_AWAY
        :: input == CGB -> state[SERVER] = CLOSING
        :: input == CHR -> state[SERVER] = ENDED
        :: else -> illegal()
        fi
    :: state[SERVER] == CLOSING ->
        if
        :: input == CHB -> state[SERVER] = CLOSING
        :: input == CCR -> state[SERVER] = CLOSING
        :: input == CST -> state[SERVER] = CLOSING
        :: input == CKU -> state[SERVER] = CLOSING
        :: input == CHR -> state[SERVER] = ENDED
        :: else -> illegal()
        fi
    :: state[SERVER] == AWAIT_CFL ->
        if
        :: input == CHB -> state[SERVER] = AWAIT_CFL
        :: input == CCR -> state[SERVER] = AWAIT_CFL
        :: input == CST -> state[SERVER] = AWAIT_CFL
        :: input == CKU -> state[SERVER] = AWAIT_CFL
        :: input == CFL -> state[SERVER] = ENDED
        :: input == CHR -> state[SERVER] = ENDED
        :: else -> illegal()
        fi
    :: else -> illegal()
    fi
}

inline serverSteps(input) {
    if
    :: state[SERVER] == IDLE ->
        if
        :: input == START -> state[SERVER] = AWAIT_CHI
        :: else -> illegal()
        fi
    :: state[SERVER] == AWAIT_CDH ->
        if
        :: input == RETRY -> state[SERVER] = AWAIT_SECOND_CHI
        :: else -> illegal()
        fi
    :: state[SERVER] == AUTHORIZING ->
        if
        :: input == ADMIT -> state[SERVER] = ESTABLISHED
        :: else -> illegal()
        fi
    :: state[SERVER] == ESTABLISHED ->
        if
        :: input == GO_AWAY -> state[SERVER] = GOING_AWAY
        :: else -> illegal()
        fi
    :: state[SERVER] == GOING_AWAY ->
        if
        :: input == GO_AWAY -> state[SERVER] = GOING_AWAY
        :: else -> illegal()
        fi
    :: state[SERVER] == CLOSING ->
        if
        :: input == GO_AWAY -> state[SERVER] = CLOSING
        :: input == FLUSHED -> state[SERVER] = AWAIT_CFL
        :: else -> illegal()
        fi
    :: state[SERVER] == AWAIT_CFL ->
        if
        :: input == GO_AWAY -> state[SERVER] = AWAIT_CFL
        :: else -> illegal()
        fi
    :: else -> illegal()
    fi
}

inline streamSteps(input) {
    if
    :: STREAM == ASKING ->
        if
        :: input == ACCEPTED -> STREAM = OPEN
        :: input == SEND_END -> STREAM = ASKING_ENDED
        :: input == STOP -> STREAM = OVER
        :: input == STOPPED -> STREAM = OVER
        :: else -> illegal()
        fi
    :: STREAM == ASKING_ENDED ->
        if
        :: input == ACCEPTED -> STREAM = SENT_END
        :: input == STOP -> STREAM = OVER
        :: input == STOPPED -> STREAM = OVER
        :: else -> illegal()
        fi
    :: STREAM == ASKED ->
        if
        :: input == ACCEPT -> STREAM = OPEN
        :: input == GET_END -> STREAM = ASKED_ENDED
        :: input == STOP -> STREAM = OVER
        :: input == STOPPED -> STREAM = OVER
        :: else -> illegal()
        fi
    :: STREAM == ASKED_ENDED ->
        if
        :: input == ACCEPT -> STREAM = GOT_END
        :: input == STOP -> STREAM = OVER
        :: input == STOPPED -> STREAM = OVER
        :: else -> illegal()
        fi
    :: STREAM == OPEN ->
        if
        :: input == SEND_END -> STREAM = SENT_END
        :: input == GET_END -> STREAM = GOT_END
        :: input == STOP -> STREAM = OVER
        :: input == STOPPED -> STREAM = OVER
        :: else -> illegal()
        fi
    :: STREAM == SENT_END ->
        if
        :: input == GET_END -> STREAM = OVER
        :: input == STOP -> STREAM = OVER
        :: input == STOPPED -> STREAM = OVER
        :: else -> illegal()
        fi
    :: STREAM == GOT_END ->
        if
        :: input == SEND_END -> STREAM = OVER
        :: input == STOP -> STREAM = OVER
        :: input == STOPPED -> STREAM = OVER
        :: else -> illegal()
        fi
    :: else -> illegal()
    fi
}
