"""Where a call comes from, and whom a proxy may name in place of itself."""

import pytest

from services._chassis.sources import MOST_HOPS, networks, origin_of, source_of

GATEWAYS = networks(["10.0.0.0/8", "2001:db8:1::/48"])
GATEWAY = "ipv4:10.0.0.7:41000"


def test_a_peer_is_the_source_where_no_proxy_is_trusted() -> None:
    assert source_of(GATEWAY, ["192.0.2.1"], ()) == GATEWAY


@pytest.mark.parametrize(
    ("peer", "forwarded", "source"),
    [
        ("ipv4:192.0.2.9:5", ["192.0.2.1"], "ipv4:192.0.2.9:5"),
        (GATEWAY, [], GATEWAY),
        (GATEWAY, ["192.0.2.1"], "ipv4:192.0.2.1"),
        (GATEWAY, ["203.0.113.1, 192.0.2.1"], "ipv4:192.0.2.1"),
        (GATEWAY, ["203.0.113.1", "192.0.2.1"], "ipv4:192.0.2.1"),
        (GATEWAY, ["192.0.2.1, 10.9.9.9"], "ipv4:192.0.2.1"),
        (GATEWAY, ["10.9.9.9"], "ipv4:10.9.9.9"),
        (GATEWAY, ["192.0.2.1, nonsense"], GATEWAY),
        (GATEWAY, ["192.0.2.1, nonsense, 10.9.9.9"], "ipv4:10.9.9.9"),
        (GATEWAY, ["192.0.2.1:80"], GATEWAY),
        (GATEWAY, [""], GATEWAY),
        (GATEWAY, ["2001:db8:2::1"], "ipv6:2001:db8:2::1"),
        ("ipv6:[2001:db8:1::7]:41000", ["192.0.2.1"], "ipv4:192.0.2.1"),
        ("ipv6:%5B2001:db8:1::7%5D:41000", ["192.0.2.1"], "ipv4:192.0.2.1"),
        ("ipv6:[::ffff:10.0.0.7]:41000", ["192.0.2.1"], "ipv4:192.0.2.1"),
        ("unix:/run/x", ["192.0.2.1"], "unix:/run/x"),
    ],
)
def test_a_trusted_proxy_is_believed_for_the_one_that_called_it(peer: str, forwarded: list[str], source: str) -> None:
    assert source_of(peer, forwarded, GATEWAYS) == source


def test_no_more_hops_are_looked_at_than_a_way_may_have() -> None:
    way = ["192.0.2.1", *["10.0.0.1"] * MOST_HOPS]
    assert source_of(GATEWAY, way, GATEWAYS) == "ipv4:10.0.0.1"


@pytest.mark.parametrize(
    ("source", "origin"),
    [
        ("ipv4:192.0.2.1:5", "192.0.2.1"),
        ("ipv4:192.0.2.1", "192.0.2.1"),
        ("ipv6:[2001:db8:1:2:3::4]:5", "2001:db8:1:2::/64"),
        ("ipv6:%5B2001:db8:1:2:ffff::4%5D:5", "2001:db8:1:2::/64"),
        ("ipv6:2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("ipv6:[::ffff:192.0.2.1]:5", "192.0.2.1"),
        ("unix:", ""),
    ],
)
def test_an_origin_is_an_address_or_the_network_of_one_customer(source: str, origin: str) -> None:
    assert origin_of(source) == origin


@pytest.mark.parametrize("text", ["", "gateway", "10.0.0.1/8", "10.0.0.0/33", "*"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        networks([text])
