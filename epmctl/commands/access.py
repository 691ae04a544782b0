"""`epm access`: who may, who can, and why, answered by the server as every service checks."""

import functools
from collections.abc import Callable, Sequence

import click

from epm.access.v1 import queries_pb2, queries_pb2_grpc
from epmctl.client import logged_in
from epmctl.grouping import CommandGroup
from epmctl.output import output_option, print_json, print_table, show, whole_seconds
from epmctl.plain import to_plain, word_of

Command = Callable[..., int | None]

_PRINCIPAL = click.option(
    "--principal", default="", metavar="user:NAME", help="Whom to ask about; yourself if not given."
)
_TAGS = click.option("--tag", "tags", multiple=True, metavar="TAG", help="A scope tag of the object; again for more.")
_GROUPS = click.option(
    "--group", "groups", multiple=True, metavar="GROUP", help="A group it is aimed at, or is in; again for more."
)
_RIGHT = click.argument("right")
_FRESH = click.option(
    "--at-least-revision", type=click.IntRange(0, 2**64 - 1), default=0, help="Wait for this revision of the data."
)


def _question(command: Command) -> Command:
    """Give a command the options of a question; it is called with `asked`, the question that they make."""

    @_RIGHT
    @_PRINCIPAL
    @_TAGS
    @_GROUPS
    @functools.wraps(command)
    def asking(
        *, right: str, principal: str, tags: Sequence[str], groups: Sequence[str], **others: object
    ) -> int | None:
        asked = queries_pb2.AccessQuestion(principal=principal, right=right, object=_object(tags, groups))
        return command(asked=asked, **others)

    return asking


@click.group(cls=CommandGroup)
def access() -> None:
    """Tell who may do what, who can do something, and why.

    RIGHT is the name of a right, such as policy_authoring.assign. Without --tag and --group the question is whether there
    is anything that the right counts for; an object without --tag has the tag default.
    """


@access.command()
@_question
@_FRESH
@output_option
def can(asked: queries_pb2.AccessQuestion, at_least_revision: int, output: str) -> int:
    """Tell whether a principal may; the exit code is 0 where it may and 1 where it may not."""
    request = queries_pb2.CheckRequest(question=asked, at_least_revision=at_least_revision)
    with logged_in() as client:
        answer = client.call(queries_pb2_grpc.AccessQueryServiceStub(client.channel).Check, request)
    if output == "json":
        print_json(to_plain(answer))
    elif answer.allowed:
        click.echo(f"allowed by {show(list(answer.role_assignments))}")
    else:
        click.echo("not allowed; epm access why tells what is missing")
    return 0 if answer.allowed else 1


@access.command()
@_RIGHT
@_TAGS
@_GROUPS
@output_option
def who(right: str, tags: Sequence[str], groups: Sequence[str], output: str) -> None:
    """List who can, with the role assignment and the principal groups that make it so."""
    with logged_in() as client:
        stub = queries_pb2_grpc.AccessQueryServiceStub(client.channel)

        def fetch(size: int, token: str) -> tuple[Sequence[queries_pb2.PrincipalPath], str]:
            request = queries_pb2.ListPrincipalsRequest(
                right=right, object=_object(tags, groups), page_size=size, page_token=token
            )
            answer = client.call(stub.ListPrincipals, request)
            return answer.principals, answer.next_page_token

        found = list(client.pages(fetch, limit=None))
    if output == "json":
        print_json([to_plain(one) for one in found])
        return
    rows = [(one.principal, one.role, one.role_assignment, " > ".join(one.groups), _end(one)) for one in found]
    print_table(("PRINCIPAL", "ROLE", "ASSIGNMENT", "THROUGH", "EXPIRES"), rows)


@access.command()
@_question
@_FRESH
@output_option
def why(asked: queries_pb2.AccessQuestion, at_least_revision: int, output: str) -> None:
    """Tell why a principal may or may not, and which role assignments nearly allow it."""
    request = queries_pb2.ExplainRequest(question=asked, at_least_revision=at_least_revision)
    with logged_in() as client:
        answer = client.call(queries_pb2_grpc.AccessQueryServiceStub(client.channel).Explain, request)
    if output == "json":
        print_json(to_plain(answer))
        return
    click.echo(show(answer.reason))
    if answer.steps:
        click.echo()
        print_table(("ASSIGNMENT", "LACKS", "WHY"), [_step(step) for step in answer.steps])


@access.command()
@_PRINCIPAL
@output_option
def mine(principal: str, output: str) -> None:
    """List what you may do, or what another principal may, and within which scopes."""
    request = queries_pb2.ListRightsRequest(principal=principal)
    with logged_in() as client:
        answer = client.call(queries_pb2_grpc.AccessQueryServiceStub(client.channel).ListRights, request)
    if output == "json":
        print_json(to_plain(answer))
        return
    rows = [(held.right, *_scope(scope)) for held in answer.rights for scope in held.scopes]
    print_table(("RIGHT", "ASSIGNMENT", "ROLE", "SEES TAGS", "MAY TARGET", "EXPIRES"), rows)


def _object(tags: Sequence[str], groups: Sequence[str]) -> queries_pb2.AccessObject | None:
    return queries_pb2.AccessObject(scope_tags=tags, groups=groups) if tags or groups else None


def _step(step: queries_pb2.AccessStep) -> tuple[str, str, str]:
    words = [word_of(queries_pb2.AccessGap.DESCRIPTOR, gap) or "" for gap in step.gaps]
    return step.role_assignment, ", ".join(words), step.reason


def _scope(scope: queries_pb2.AllowedScope) -> tuple[str, str, str, str, str]:
    tags = show(list(scope.scope_tags)) if scope.scope_tags else "all"
    groups = "all" if scope.everything else show(list(scope.scope_groups))
    return scope.role_assignment, scope.role, tags, groups, _end(scope)


def _end(message: queries_pb2.AllowedScope | queries_pb2.PrincipalPath) -> str:
    return whole_seconds(message.expires.ToJsonString()) if message.HasField("expires") else ""
