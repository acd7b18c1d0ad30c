"""
The states of both roles, in one table (specification, "States").

Two rules. What is not in the table is not legal: a message that is not there
is the peer's error, a step that is not there is the caller's. Only
:class:`StateMachine` changes a state. The specification's tables and
diagrams are drawn from :data:`TRANSITIONS`.
"""

from __future__ import annotations

from enum import Enum

from thing.core.messages import MessageType as T
from thing.core.messages import Role
from thing.errors import ErrorCode, LocalProtocolError, RemoteProtocolError


class State(Enum):
    """Where a Connection stands; the value says it in words."""

    IDLE = "not started"
    AWAIT_CHI = "waiting for the client to begin"
    AWAIT_SECOND_CHI = "waiting for the client's retry, with the puzzle solved"
    AWAIT_SHI = "waiting for the server's choice"
    SOLVING = "the client looks for the puzzle's solution"
    AWAIT_SECOND_SHI = "waiting for the server's choice, after the retry"
    AWAIT_SDH = "waiting for the server's share"
    AWAIT_CDH = "waiting for the client's share"
    AWAIT_SCC = "waiting for the server's proof"
    AWAIT_CCC = "waiting for the client's proof"
    AUTHORIZING = "the peer is proved; this side decides whether to admit it"
    AWAIT_SHF = "waiting for the server's confirmation"
    ESTABLISHED = "the session is up"
    GOING_AWAY = "the server asked the client to leave"
    LEAVING = "the client sends what it still has before CGB"
    AWAIT_SGB = "the client said goodbye and waits for the server's"
    CLOSING = "the server has CGB and sends what it still has before SGB"
    AWAIT_CFL = "the server said goodbye and waits for the client's flat line"
    ENDED = "over: nothing is read, nothing is sent"

    # Members are looked up at every record; Enum's own hash is a call of Python's.
    __hash__ = object.__hash__


class Step(Enum):
    """What happens on this side; the value says it in words."""

    START = "the transport is connected"
    RETRY = "the SHI just received, or about to be sent, asks for a retry"
    SOLVED = "the puzzle is solved"
    ADMIT = "the authorizer admits the peer"
    GOODBYE = "the client's application says goodbye"
    GO_AWAY = "the server's application asks the client to leave"
    FLUSHED = "all queued data has been sent"
    END = "an error, a refusal, a deadline, an abort or the stream's end"


Input = T | Step
"""What drives a state machine: a message received, or a step on this side."""

_S = State

TRANSITIONS: dict[Role, dict[State, dict[Input, State]]] = {
    Role.CLIENT: {
        _S.IDLE: {Step.START: _S.AWAIT_SHI},
        _S.AWAIT_SHI: {T.SHI: _S.AWAIT_SDH, T.SHR: _S.ENDED},
        _S.SOLVING: {Step.SOLVED: _S.AWAIT_SECOND_SHI, T.SHR: _S.ENDED},
        _S.AWAIT_SECOND_SHI: {T.SHI: _S.AWAIT_SDH, T.SHR: _S.ENDED},
        _S.AWAIT_SDH: {Step.RETRY: _S.SOLVING, T.SDH: _S.AWAIT_SCC, T.SHR: _S.ENDED},
        _S.AWAIT_SCC: {T.SCC: _S.AUTHORIZING, T.SHR: _S.ENDED},
        _S.AUTHORIZING: {Step.ADMIT: _S.AWAIT_SHF, T.SHR: _S.ENDED},
        _S.AWAIT_SHF: {T.SHF: _S.ESTABLISHED, T.SHR: _S.ENDED},
        _S.ESTABLISHED: {
            T.SUU: _S.ESTABLISHED,
            T.SDT: _S.ESTABLISHED,
            T.SRQ: _S.ESTABLISHED,
            T.SRP: _S.ESTABLISHED,
            T.SCR: _S.ESTABLISHED,
            T.SOP: _S.ESTABLISHED,
            T.SAC: _S.ESTABLISHED,
            T.SST: _S.ESTABLISHED,
            T.SKU: _S.ESTABLISHED,
            T.SNK: _S.ESTABLISHED,
            T.SGA: _S.LEAVING,
            Step.GOODBYE: _S.LEAVING,
            T.SFL: _S.ENDED,
            T.SHR: _S.ENDED,
        },
        _S.LEAVING: {
            T.SUU: _S.LEAVING,
            T.SDT: _S.LEAVING,
            T.SRQ: _S.LEAVING,
            T.SRP: _S.LEAVING,
            T.SCR: _S.LEAVING,
            T.SOP: _S.LEAVING,
            T.SAC: _S.LEAVING,
            T.SST: _S.LEAVING,
            T.SKU: _S.LEAVING,
            T.SNK: _S.LEAVING,
            T.SGA: _S.LEAVING,
            Step.GOODBYE: _S.LEAVING,
            Step.FLUSHED: _S.AWAIT_SGB,
            T.SFL: _S.ENDED,
            T.SHR: _S.ENDED,
        },
        _S.AWAIT_SGB: {
            T.SUU: _S.AWAIT_SGB,
            T.SDT: _S.AWAIT_SGB,
            T.SRQ: _S.AWAIT_SGB,
            T.SRP: _S.AWAIT_SGB,
            T.SCR: _S.AWAIT_SGB,
            T.SOP: _S.AWAIT_SGB,
            T.SAC: _S.AWAIT_SGB,
            T.SST: _S.AWAIT_SGB,
            T.SKU: _S.AWAIT_SGB,
            T.SNK: _S.AWAIT_SGB,
            T.SGA: _S.AWAIT_SGB,
            Step.GOODBYE: _S.AWAIT_SGB,
            T.SGB: _S.ENDED,
            T.SFL: _S.ENDED,
            T.SHR: _S.ENDED,
        },
    },
    Role.SERVER: {
        _S.IDLE: {Step.START: _S.AWAIT_CHI},
        _S.AWAIT_CHI: {T.CHI: _S.AWAIT_CDH},
        _S.AWAIT_SECOND_CHI: {T.CHI: _S.AWAIT_CDH, T.CHR: _S.ENDED},
        _S.AWAIT_CDH: {Step.RETRY: _S.AWAIT_SECOND_CHI, T.CDH: _S.AWAIT_CCC, T.CHR: _S.ENDED},
        _S.AWAIT_CCC: {T.CCC: _S.AUTHORIZING, T.CHR: _S.ENDED},
        _S.AUTHORIZING: {Step.ADMIT: _S.ESTABLISHED, T.CHR: _S.ENDED},
        _S.ESTABLISHED: {
            T.CHB: _S.ESTABLISHED,
            T.CDT: _S.ESTABLISHED,
            T.CRQ: _S.ESTABLISHED,
            T.CRP: _S.ESTABLISHED,
            T.CLW: _S.ESTABLISHED,
            T.CCR: _S.ESTABLISHED,
            T.COP: _S.ESTABLISHED,
            T.CAC: _S.ESTABLISHED,
            T.CST: _S.ESTABLISHED,
            T.CKU: _S.ESTABLISHED,
            Step.GO_AWAY: _S.GOING_AWAY,
            T.CGB: _S.CLOSING,
            T.CHR: _S.ENDED,
        },
        _S.GOING_AWAY: {
            T.CHB: _S.GOING_AWAY,
            T.CDT: _S.GOING_AWAY,
            T.CRQ: _S.GOING_AWAY,
            T.CRP: _S.GOING_AWAY,
            T.CLW: _S.GOING_AWAY,
            T.CCR: _S.GOING_AWAY,
            T.COP: _S.GOING_AWAY,
            T.CAC: _S.GOING_AWAY,
            T.CST: _S.GOING_AWAY,
            T.CKU: _S.GOING_AWAY,
            Step.GO_AWAY: _S.GOING_AWAY,
            T.CGB: _S.CLOSING,
            T.CHR: _S.ENDED,
        },
        _S.CLOSING: {
            T.CHB: _S.CLOSING,
            T.CCR: _S.CLOSING,
            T.CST: _S.CLOSING,
            T.CKU: _S.CLOSING,
            Step.GO_AWAY: _S.CLOSING,
            Step.FLUSHED: _S.AWAIT_CFL,
            T.CHR: _S.ENDED,
        },
        _S.AWAIT_CFL: {
            T.CHB: _S.AWAIT_CFL,
            T.CCR: _S.AWAIT_CFL,
            T.CST: _S.AWAIT_CFL,
            T.CKU: _S.AWAIT_CFL,
            Step.GO_AWAY: _S.AWAIT_CFL,
            T.CFL: _S.ENDED,
            T.CHR: _S.ENDED,
        },
    },
}
"""For each role and state, the legal inputs and the states that they lead to.

:attr:`Step.END` leads from every state to :attr:`State.ENDED`, where nothing is legal.
"""

ESTABLISHED_STATES = frozenset(
    {_S.ESTABLISHED, _S.GOING_AWAY, _S.LEAVING, _S.AWAIT_SGB, _S.CLOSING, _S.AWAIT_CFL}
)
"""The states of a session that is up, or on its way down in order."""

WRITABLE_STATES = frozenset({_S.ESTABLISHED, _S.GOING_AWAY})
"""The states in which the application may still send."""

BEATING_STATES = frozenset({_S.ESTABLISHED, _S.LEAVING, _S.AWAIT_SGB})
"""The states in which the client sends heartbeats."""

LIVENESS_STATES = ESTABLISHED_STATES - {_S.AWAIT_CFL}
"""The states in which the peer's silence counts."""


_NOTHING: dict[Input, State] = {}


class StateMachine:
    """
    One Connection's state.

    :ivar role: this side's role.
    :ivar state: where it stands.
    """

    __slots__ = ("_table", "role", "state")

    def __init__(self, role: Role) -> None:
        """:param role: this side's role."""
        self.role = role
        self._table = TRANSITIONS[role]
        self.state = State.IDLE

    def receive(self, kind: T) -> None:
        """
        Advance by a message from the peer.

        :param kind: the message's type.
        :raises RemoteProtocolError: if it is not legal now.
        """
        after = self._table.get(self.state, _NOTHING).get(kind)
        if after is None:
            if kind.sender is self.role:
                raise RemoteProtocolError(ErrorCode.REFLECTED_MESSAGE, kind.name)
            raise RemoteProtocolError(
                ErrorCode.UNEXPECTED_MESSAGE, f"{kind.name} in {self.state.name}"
            )
        self.state = after

    def step(self, step: Step) -> None:
        """
        Advance by something that this side does.

        :param step: what.
        :raises LocalProtocolError: ``WRONG_STATE`` if it is not legal now.
        """
        if step is Step.END:
            self.state = State.ENDED
            return
        after = self._table.get(self.state, _NOTHING).get(step)
        if after is None:
            raise LocalProtocolError(ErrorCode.WRONG_STATE, f"{step.name} in {self.state.name}")
        self.state = after
