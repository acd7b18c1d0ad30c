"""Every message by its type, for whoever must know them all: documentation, tests, fuzzing."""

from __future__ import annotations

from thing.core.handshakemessages import CCC, CDH, CHI, SCC, SDH, SHF, SHI
from thing.core.layout import Message
from thing.core.messages import (
    CDT,
    CFL,
    CGB,
    CHB,
    CHR,
    CKU,
    CLW,
    CRP,
    CRQ,
    SDT,
    SFL,
    SGA,
    SGB,
    SHR,
    SKU,
    SNK,
    SRP,
    SRQ,
    SUU,
    MessageType,
)

MESSAGES: dict[MessageType, type[Message]] = {
    cls.TYPE: cls
    for cls in (
        CHI, SHI, SDH, CDH, SCC, CCC, SHF, CHB, SUU, CGB, SGB, CFL, SFL, SGA,
        CDT, SDT, CRQ, SRQ, CRP, SRP, CLW, CKU, SKU, SNK, CHR, SHR,
    )
}  # fmt: skip
"""Every message class by its type."""
