"""`epm access` asks who may, who can and why; `can` answers with its exit code, too."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from epm.access.v1 import queries_pb2
from services._chassis.errors import DeniedError, InvalidError, Problem
from tests.builders.console import Console
from tests.fakes.server import FakeServer

RIGHT = "policy_authoring.assign"
NOON = Timestamp(seconds=1_795_435_200)


@pytest.mark.parametrize("output", ["table", "json"])
def test_the_exit_code_of_can_is_its_answer(console: Console, server: FakeServer, output: str) -> None:
    for allowed, code in ((True, 0), (False, 1)):
        server.on(queries_pb2.CheckRequest, queries_pb2.CheckResponse(allowed=allowed))
        outcome = console.run("access", "can", RIGHT, "--output", output)
        assert (outcome.code, outcome.err) == (code, "")


def test_can_names_the_role_assignments_that_allow_it(console: Console, server: FakeServer) -> None:
    answer = queries_pb2.CheckResponse(allowed=True, role_assignments=["a", "b"], revision=7)
    server.on(queries_pb2.CheckRequest, answer)
    assert console.run("access", "can", RIGHT).out == "allowed by a, b\n"
    shown = console.run("access", "can", RIGHT, "--output", "json")
    assert shown.json == {"allowed": True, "roleAssignments": ["a", "b"], "revision": 7}


def test_what_is_not_allowed_points_to_why(console: Console, server: FakeServer) -> None:
    server.on(queries_pb2.CheckRequest, queries_pb2.CheckResponse())
    assert console.run("access", "can", RIGHT).out == "not allowed; epm access why tells what is missing\n"


@pytest.mark.parametrize(("command", "kind"), [("can", queries_pb2.CheckRequest), ("why", queries_pb2.ExplainRequest)])
def test_the_options_make_the_question(
    console: Console,
    server: FakeServer,
    command: str,
    kind: type[queries_pb2.CheckRequest] | type[queries_pb2.ExplainRequest],
) -> None:
    about = ("--principal", "user:bob", "--tag", "emea", "--tag", "apac", "--group", "kiosks")
    console.run("access", command, RIGHT, *about, "--at-least-revision", "9")
    console.run("access", command, RIGHT)
    full, bare = server.requests(kind)
    asked = queries_pb2.AccessObject(scope_tags=["emea", "apac"], groups=["kiosks"])
    assert full.question == queries_pb2.AccessQuestion(principal="user:bob", right=RIGHT, object=asked)
    assert full.at_least_revision == 9
    assert bare == kind(question=queries_pb2.AccessQuestion(right=RIGHT))


def test_who_lists_every_page_with_the_way_through_groups(console: Console, server: FakeServer) -> None:
    def answer(request: queries_pb2.ListPrincipalsRequest) -> queries_pb2.ListPrincipalsResponse:
        assert request.right == RIGHT
        assert list(request.object.groups) == ["kiosks"]
        if not request.page_token:
            first = queries_pb2.PrincipalPath(principal="user:a", role_assignment="x", role="R")
            return queries_pb2.ListPrincipalsResponse(principals=[first], next_page_token="more")
        second = queries_pb2.PrincipalPath(
            principal="user:b", role_assignment="y", role="R", groups=["outer", "inner"], expires=NOON
        )
        return queries_pb2.ListPrincipalsResponse(principals=[second])

    server.on(queries_pb2.ListPrincipalsRequest, answer)
    outcome = console.run("access", "who", RIGHT, "--group", "kiosks")
    assert [line.split("  ")[0] for line in outcome.out.splitlines()] == ["PRINCIPAL", "user:a", "user:b"]
    assert "outer > inner" in outcome.out
    assert "2026-11-23T12:00:00Z" in outcome.out
    shown = console.run("access", "who", RIGHT, "--group", "kiosks", "--output", "json")
    assert [one["groups"] for one in shown.json] == [[], ["outer", "inner"]]


def test_why_says_what_each_role_assignment_lacks(console: Console, server: FakeServer) -> None:
    step = queries_pb2.AccessStep(
        role_assignment="x", role="R", gaps=[queries_pb2.ACCESS_GAP_EXPIRED], reason="it expired on 2026-11-24"
    )
    server.on(queries_pb2.ExplainRequest, queries_pb2.ExplainResponse(reason="user:bob may not", steps=[step]))
    outcome = console.run("access", "why", RIGHT)
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        "user:bob may not",
        "",
        "ASSIGNMENT  LACKS    WHY",
        "x           EXPIRED  it expired on 2026-11-24",
    ]
    assert console.run("access", "why", RIGHT, "--output", "json").json["steps"][0]["gaps"] == ["EXPIRED"]


def test_why_without_steps_is_one_sentence(console: Console, server: FakeServer) -> None:
    server.on(queries_pb2.ExplainRequest, queries_pb2.ExplainResponse(reason="user:bob may not"))
    assert console.run("access", "why", RIGHT).out == "user:bob may not\n"


def test_mine_lists_rights_with_their_scopes(console: Console, server: FakeServer) -> None:
    scopes = [
        queries_pb2.AllowedScope(role_assignment="a", role="R", scope_groups=["g"], scope_tags=["emea"], expires=NOON),
        queries_pb2.AllowedScope(role_assignment="b", role="Owner", everything=True),
        queries_pb2.AllowedScope(role_assignment="c", role="R"),
    ]
    held = queries_pb2.HeldRight(right=RIGHT, scopes=scopes)
    server.on(queries_pb2.ListRightsRequest, queries_pb2.ListRightsResponse(principal="user:bob", rights=[held]))
    rows = [line.split() for line in console.run("access", "mine", "--principal", "user:bob").out.splitlines()[1:]]
    assert rows == [
        [RIGHT, "a", "R", "emea", "g", "2026-11-23T12:00:00Z"],
        [RIGHT, "b", "Owner", "all", "all", "-"],
        [RIGHT, "c", "R", "all", "-", "-"],
    ]
    assert [request.principal for request in server.requests(queries_pb2.ListRightsRequest)] == ["user:bob"]
    assert console.run("access", "mine", "--output", "json").json["principal"] == "user:bob"


def test_who_may_not_ask_about_another_is_told_so(console: Console, server: FakeServer) -> None:
    server.on(queries_pb2.CheckRequest, DeniedError("to ask about another principal takes the right roles.read"))
    outcome = console.run("access", "can", RIGHT, "--principal", "user:bob")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "not allowed: to ask about another principal takes the right roles.read\n"


def test_a_right_that_does_not_exist_is_bad_input(console: Console, server: FakeServer) -> None:
    server.on(queries_pb2.CheckRequest, InvalidError([Problem("question.right", "'fly' is no right")]))
    assert console.run("access", "can", "fly").code == 2
