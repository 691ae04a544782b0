"""Where notices may be sent."""

import ipaddress
from collections.abc import Sequence

import pytest

from services.policy.notices.addresses import Guard, system_addresses
from services.policy.notices.channels import UndeliveredError

INSIDE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "192.0.0.192",
    "198.18.0.1",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "64:ff9b:1::a00:1",
    "fec0::1",
    "192.88.99.1",
    "::127.0.0.1",
    "::ffff:0:10.0.0.1",
    "2606:4700::5efe:10.0.0.1",
    "2606:4700::200:5efe:10.0.0.1",
    "3fff::1",
    "5f00::1",
    "no address",
]


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside_are_refused(address: str) -> None:
    assert not Guard([]).lets(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "93.184.215.14",
        "2606:4700:4700::1111",
        "64:ff9b::101:101",
        "2606:4700::5efe:1.1.1.1",
    ],
)
def test_public_addresses_are_let_through(address: str) -> None:
    assert Guard([]).lets(address)


def test_what_the_operator_lists_is_let_through_and_nothing_beside_it() -> None:
    guard = Guard([ipaddress.ip_network("10.1.2.0/24"), ipaddress.ip_network("fd12::/64")])
    wanted = {"10.1.2.3": True, "10.1.3.3": False, "fd12::5": True, "fd13::5": False, "::ffff:10.1.2.3": False}
    assert {address: guard.lets(address) for address in wanted} == wanted


def resolving_to(*addresses: str) -> Guard:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    return Guard([], resolve)


async def test_one_address_inside_among_public_ones_refuses_the_name() -> None:
    with pytest.raises(UndeliveredError, match=r"has the address 10\.0\.0\.1, which is not public"):
        await resolving_to("1.1.1.1", "10.0.0.1").addresses_of("chat.example.com", 443)


async def test_a_name_without_addresses_is_refused() -> None:
    with pytest.raises(UndeliveredError, match="has no address"):
        await resolving_to().addresses_of("chat.example.com", 443)


async def test_a_name_that_nobody_knows_is_a_failure() -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        raise OSError(-2, "Name or service not known")

    with pytest.raises(UndeliveredError, match="cannot be resolved: Name or service not known"):
        await Guard([], resolve).addresses_of("chat.example.com", 443)


async def test_the_system_names_each_address_once() -> None:
    assert list(await system_addresses("127.0.0.1", 443)) == ["127.0.0.1"]


async def test_a_name_that_can_be_none_is_a_failure_like_any_other() -> None:
    with pytest.raises(UndeliveredError, match="cannot be resolved"):
        await Guard([]).addresses_of("a" * 64 + ".example", 443)
