"""
Every message by its type, for whoever must know them all: documentation, tests, fuzzing.

The messages themselves, and when each is legal, are elsewhere.
"""

from __future__ import annotations

from thing.core.handshakemessages import CCC, CDH, CHI, SCC, SDH, SHF, SHI
from thing.core.layout import Message
from thing.core.messages import (
    CAC,
    CCR,
    CDT,
    CFL,
    CGB,
    CHB,
    CHR,
    CKU,
    CLW,
    COP,
    CRP,
    CRQ,
    CST,
    SAC,
    SCR,
    SDT,
    SFL,
    SGA,
    SGB,
    SHR,
    SKU,
    SNK,
    SOP,
    SRP,
    SRQ,
    SST,
    SUU,
    MessageType,
)

MESSAGES: dict[MessageType, type[Message]] = {
    cls.TYPE: cls
    for cls in (
        CHI, SHI, SDH, CDH, SCC, CCC, SHF, CHB, SUU, CGB, SGB, CFL, SFL, SGA,
        CDT, SDT, CRQ, SRQ, CRP, SRP, CLW,
        CCR, SCR, COP, SOP, CAC, SAC, CST, SST, CKU, SKU, SNK, CHR, SHR,
    )
}  # fmt: skip
"""Every message class by its type."""
