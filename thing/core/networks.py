"""
Hosts as they are written, and the networks by which connections are counted.

How many may come from one is said by the limits.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network


def plainHost(host: str) -> str:
    """
    Write an IPv4 address that a port for IPv4 and IPv6 has as IPv6 like any other.

    :param host: of a transport's address.
    :return: the IPv4 address for one like ``::ffff:192.0.2.1``; else the host as it is.
    """
    parsed = _parsed(host)
    return host if parsed is None or parsed.ipv4_mapped is None else str(parsed.ipv4_mapped)


def networkOfHost(host: str) -> str:
    """
    Tell by what network connections from a host are counted.

    Of IPv6 it is the /64, since a single host may have all the addresses in one.

    :param host: of a transport's address; empty if it has none.
    :return: the network; empty for streams that have none, as unix sockets.
    """
    host = plainHost(host)
    parsed = _parsed(host)
    return host if parsed is None else str(IPv6Network((parsed, 64), strict=False))


def _parsed(host: str) -> IPv6Address | None:
    if ":" not in host:
        return None
    try:
        return IPv6Address(host.partition("%")[0])
    except ValueError:  # A PROXY header of version 1 may say anything.
        return None
