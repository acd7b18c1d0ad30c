"""The addresses of peers: how they are written, and how they are counted."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from twisted.internet.interfaces import IAddress

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


def plainHost(host: str) -> str:
    """
    Write an IPv4 address that a port for IPv4 and IPv6 has as IPv6 like any other.

    :param host: of a transport's address.
    :return: the IPv4 address for one like ``::ffff:192.0.2.1``; else the host as it is.
    """
    parsed = _parsed(host)
    return host if parsed is None or parsed.ipv4_mapped is None else str(parsed.ipv4_mapped)


def networkOf(address: IAddress | None) -> str:
    """
    Tell by what network connections from an address are counted.

    Of IPv6 it is the /64, since a single host may have all the addresses in one.

    :param address: of a transport.
    :return: the network; empty for streams that have none, as unix sockets.
    """
    host = plainHost(getattr(address, "host", ""))
    parsed = _parsed(host)
    return host if parsed is None else str(IPv6Network((parsed, 64), strict=False))


def _parsed(host: str) -> IPv6Address | None:
    if ":" not in host:
        return None
    try:
        return IPv6Address(host.partition("%")[0])
    except ValueError:  # A PROXY header of version 1 may say anything.
        return None
