"""Where notices may be sent: public addresses, and those that the operator lists. A receiver cannot lead the service elsewhere.

A name is resolved once, every address that it has is checked, and the connection goes to an address that was checked.
"""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeAlias

from services.policy.notices.channels import Network, UndeliveredError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host; raises OSError."""

_TRANSLATED = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")))
"""Networks whose last 32 bits are an address of version 4: NAT64, and two old forms that some routers know still."""

_TUNNELLED = (0x5EFE, 0x0200_5EFE)
"""What stands before the last 32 bits of an ISATAP address, whatever its network."""

_NEVER: Sequence[Network] = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",
            "192.0.0.0/24",
            "192.88.99.0/24",
            "64:ff9b:1::/48",
            "fec0::/10",
            "3fff::/20",
            "5f00::/16",
        ),
    )
)
"""What is not public though it may count as such: addresses at which clouds answer their machines, and old or local networks."""


class Guard:
    """Say to which addresses of a host a connection may go."""

    def __init__(self, allowed: Sequence[Network], resolve: Resolve | None = None) -> None:
        self._allowed = tuple(allowed)
        self._resolve = resolve or system_addresses

    async def addresses_of(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host. Raises UndeliveredError if there are none, or one is not allowed."""
        try:
            found = await self._resolve(host, port)
        except OSError as error:
            raise UndeliveredError(f"the name {host} cannot be resolved: {error.strerror or error}") from error
        if refused := [address for address in found if not self.lets(address)]:
            raise UndeliveredError(
                f"{host} has the address {refused[0]}, which is not public; add it to allowedAddresses if it is meant"
            )
        if not found:
            raise UndeliveredError(f"the name {host} has no address")
        return found

    def lets(self, text: str) -> bool:
        """Tell whether a connection may go to an address."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        listed = any(address in network for network in self._allowed if network.version == address.version)
        return listed or all(_public(one) for one in (address, *_within(address)))


async def system_addresses(host: str, port: int) -> Sequence[str]:
    """Ask the system, in a thread of its own that may be left behind: name servers may hang longer than anybody waits."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[str]] = loop.create_future()

    def tell(found: Sequence[str] | OSError) -> None:
        if answer.done():
            return
        if isinstance(found, OSError):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    def ask() -> None:
        found: Sequence[str] | OSError
        try:
            found = _addresses(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            found = error
        except UnicodeError:
            found = OSError(f"{host} is no name")
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, found)

    threading.Thread(target=ask, name="resolve_receiver", daemon=True).start()
    return await answer


def _addresses(found: Sequence[tuple[Any, ...]]) -> Sequence[str]:
    """Return each address once, in the order of the system."""
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


def _public(address: Address) -> bool:
    listed = any(address in network for network in _NEVER if network.version == address.version)
    return address.is_global and not address.is_multicast and not listed


def _within(address: Address) -> Iterator[Address]:
    """Find addresses of version 4 that one of version 6 leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if any(address in network for network in _TRANSLATED) or (int(address) >> 32) & 0xFFFFFFFF in _TUNNELLED:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
