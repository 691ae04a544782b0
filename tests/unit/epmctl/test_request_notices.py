"""`epm requests notices` lists what approvers did not get, and has it sent again."""

import json

from epm.policy.v1 import requests_pb2
from tests.builders.console import Console
from tests.fakes.server import FakeServer

ID = "0198a000-0000-7000-8000-000000000001-submitted/webhook:chat"


def lists(server: FakeServer, *ids: str) -> None:
    """Let the server list messages that were given up."""
    found = [requests_pb2.UndeliveredNotice(id=each, channel="webhook:chat", tries=24, error="500") for each in ids]
    for each in found:
        each.given_up.FromJsonString("2026-11-26T08:00:00Z")
    server.on(requests_pb2.ListUndeliveredNoticesRequest, requests_pb2.ListUndeliveredNoticesResponse(notices=found))


def test_messages_are_listed_with_tries_and_error_and_dead_ones_alone_on_demand(
    console: Console, server: FakeServer
) -> None:
    lists(server, ID)
    outcome = console.run("requests", "notices", "list")
    assert outcome.code == 0
    assert all(word in outcome.out for word in (ID, "24", "500"))
    [row] = json.loads(console.run("requests", "notices", "list", "--dead", "--output", "json").out)
    assert (row["id"], row["due"]) == (ID, None)
    first, second = server.requests(requests_pb2.ListUndeliveredNoticesRequest)
    assert (first.given_up, second.given_up) == (False, True)


def test_messages_that_are_named_are_sent_again_and_what_is_passed_over_is_told(
    console: Console, server: FakeServer
) -> None:
    server.on(requests_pb2.RetryNoticesRequest, requests_pb2.RetryNoticesResponse(retried=1))
    assert console.run("requests", "notices", "retry", ID, ID).out == "sent again 1, passed over 0\n"
    outcome = console.run("requests", "notices", "retry", ID, "other")
    assert (outcome.code, outcome.out) == (1, "sent again 1, passed over 1\n")
    assert [list(each.ids) for each in server.requests(requests_pb2.RetryNoticesRequest)] == [[ID], [ID, "other"]]


def test_all_are_sent_again_a_hundred_to_a_call(console: Console, server: FakeServer) -> None:
    lists(server, *(f"{number}/webhook:chat" for number in range(101)))
    server.on(requests_pb2.RetryNoticesRequest, requests_pb2.RetryNoticesResponse(retried=50))
    told = json.loads(console.run("requests", "notices", "retry", "--all", "--output", "json").out)
    assert told == {"retried": 100, "passedOver": 1}
    assert [len(each.ids) for each in server.requests(requests_pb2.RetryNoticesRequest)] == [100, 1]


def test_either_some_or_all_have_to_be_named(console: Console) -> None:
    for wrong in ((), (ID, "--all")):
        assert console.run("requests", "notices", "retry", *wrong).code == 2
