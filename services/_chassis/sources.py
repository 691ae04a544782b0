"""Where calls come from: the peer, or whom a trusted proxy names in its place.

A proxy that is not configured is a caller like any other: what it says of whom it speaks for counts for nothing.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import unquote

FORWARDED_FOR = "x-forwarded-for"
MOST_HOPS = 32
REMEMBERED = 4096
"""Sources whose origin is at hand; connections live longer than calls."""

NEIGHBOURS = 64
"""Bits of an IPv6 address that one customer shares: whoever has one address of such a network has all of them."""

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read addresses and networks, for example `10.0.0.7` and `10.1.0.0/16`. Raises ValueError for anything else."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def source_of(peer: str, forwarded: Iterable[str], trusted: Sequence[Network]) -> str:
    """Return where a call comes from, in the form of gRPC's peers; an address behind a trusted proxy has no port.

    The last address of `x-forwarded-for` was written by the proxy that called us, the one before it by whoever called that
    proxy, and so on: the first one from behind that is no trusted proxy is the caller's own.
    """
    here = _address(_host(peer)) if trusted else None
    if here is None or not _within(here, trusted):
        return peer
    caller = here
    hops = [hop for value in forwarded for hop in value.split(",")]
    for hop in reversed(hops[-MOST_HOPS:]):
        named = _address(hop.strip())
        if named is None:
            break  # nobody knows what was meant: the proxy that wrote it is the caller
        caller = named
        if not _within(caller, trusted):
            break
    return peer if caller == here else f"ipv{caller.version}:{caller}"


@lru_cache(REMEMBERED)
def origin_of(source: str) -> str:
    """Return what all calls of one origin share: the address without its port, the network of an IPv6 address."""
    host = _host(source)
    address = _address(host)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(address), NEIGHBOURS), strict=False))
    return host if address is None else str(address)


def _host(peer: str) -> str:
    """Return the host of `ipv4:1.2.3.4:5`, `ipv6:[::1]:5` (also percent-encoded) or `ipv6:::1`."""
    scheme, _, rest = unquote(peer).partition(":")
    if rest.startswith("["):
        return rest[1:].partition("]")[0]
    return rest.rpartition(":")[0] or rest if scheme == "ipv4" else rest


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _within(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)
