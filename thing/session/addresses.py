"""
The addresses of peers: how they are written, and how they are counted.

Which name of a host stands for which address is asked elsewhere.
"""

from __future__ import annotations

from twisted.internet.interfaces import IAddress

from thing.core.networks import networkOfHost, plainHost
from thing.text import visible


def formatAddress(address: IAddress | None) -> str:
    """
    Write an address as people do.

    :param address: of a transport.
    :return: ``host:port``, with an IPv6 host in brackets, or a socket's path.
    """
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is not None and port is not None:
        host = visible(plainHost(host))  # Whoever wrote a PROXY header chose it.
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    name = getattr(address, "name", None)
    if isinstance(name, bytes) and name:
        return visible(name.decode(errors="replace"))
    return "a unix socket" if hasattr(address, "name") else "an unknown address"


def networkOf(address: IAddress | None) -> str:
    """
    Tell by what network connections from an address are counted.

    :param address: of a transport.
    :return: as :func:`thing.core.networks.networkOfHost`.
    """
    return networkOfHost(getattr(address, "host", ""))
