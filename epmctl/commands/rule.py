"""`epm rule`: make rules from what was seen."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar, cast

import click

from elevation.certificates import CertificateError, parse_pem
from epm.elevation.v1 import rules_pb2
from epm.policy.v1 import analysis_pb2, analysis_pb2_grpc, policies_pb2, policies_pb2_grpc
from epm.reporting.v1 import reports_pb2, reports_pb2_grpc
from epmctl.client import CallError, Client, RefusedInputError, logged_in
from epmctl.confirm import confirm, yes_option
from epmctl.documents.model import Kind
from epmctl.documents.written import to_document
from epmctl.errors import BadInputError, CommandError
from epmctl.findings import print_findings
from epmctl.grouping import CommandGroup
from epmctl.output import Plain, Record, document_output_option, print_json, show, to_yaml
from epmctl.plain import to_plain, words_of
from epmctl.reason import reason_option
from epmctl.requestcalls import find_request

F = TypeVar("F", bound=Callable[..., object])

_TYPES: Final = words_of(rules_pb2.ElevationType.DESCRIPTOR)
_OPTIONS: Final[Mapping[str, str]] = {
    "by_publisher": "--by-publisher",
    "certificates": "--certificate",
    "policy": "--policy",
    "rule_name": "--name",
    "same_arguments": "--same-arguments",
    "same_path": "--same-path",
}


@click.group(cls=CommandGroup)
def rule() -> None:
    """Make rules from what was seen on devices."""


def _wishes(command: F) -> F:
    """Give a command the options that say what kind of rule is wanted."""
    options = (
        click.option(
            "--event", "attempt", default="", metavar="ID", help="The attempt, as epm report elevations names it."
        ),
        click.option(
            "--request",
            "request_id",
            default="",
            metavar="ID",
            help="In its place a request for approval, as epm requests list names it, with its certificates.",
        ),
        click.option(
            "--policy", default="", metavar="NAME", help="The rules policy that gets the rule; else a new one."
        ),
        click.option(
            "--new-policy", default="", metavar="NAME", help="How the new policy is called; else as the file."
        ),
        click.option(
            "--type",
            "--elevation-type",
            "elevation_type",
            type=click.Choice(tuple(_TYPES), case_sensitive=False),
            default="USER_CONFIRMED",
            show_default=True,
            help="What happens to the file.",
        ),
        click.option("--same-path", is_flag=True, help="Only in the folder in which the file was."),
        click.option("--same-arguments", is_flag=True, help="Only with the arguments of the attempt, or none."),
        click.option("--by-publisher", is_flag=True, help="Later versions too: by the signature rather than the hash."),
        click.option(
            "--certificate",
            "certificates",
            multiple=True,
            metavar="FILE",
            help="The certificate that signed the file, PEM; again for its issuers.",
        ),
        click.option(
            "--name", "rule_name", default="", metavar="NAME", help="How the rule is called; else as the file."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@rule.command()
@_wishes
@click.option("--save", is_flag=True, help="Save the policy, once you have seen the rule.")
@yes_option
@reason_option
@document_output_option
def propose(  # noqa: PLR0913 - one for each option
    *,
    attempt: str,
    request_id: str,
    policy: str,
    new_policy: str,
    elevation_type: str,
    same_path: bool,
    same_arguments: bool,
    by_publisher: bool,
    certificates: tuple[str, ...],
    rule_name: str,
    save: bool,
    yes: bool,
    reason: str,
    output: str,
) -> None:
    """Propose a rule for the file of a reported attempt or of a request: the narrowest that recognises it.

    Prints the rule, why each field is as it is, and what lint finds. Nothing is written without --save; a new policy is
    for nobody until it is assigned.
    """
    if bool(attempt) == bool(request_id):
        raise click.UsageError("give one of --event, for a reported attempt, and --request, for a request for approval")
    if policy and new_policy:
        raise BadInputError("--policy names one that is there and --new-policy one to be made; give one of the two")
    chain = [_certificate(place) for place in certificates]
    with logged_in(reason) as client:
        request = _of_request(client, request_id) if request_id else _request(_find(client, attempt))
        request.policy, request.rule_name = policy, rule_name
        request.elevation_type = rules_pb2.ElevationType.ValueType(_TYPES[elevation_type.upper()])
        request.same_path, request.same_arguments, request.by_publisher = same_path, same_arguments, by_publisher
        if chain:
            request.certificates[:] = chain
        found = _propose(client, request)
        if new_policy:
            found.rules_policy.metadata.name = new_policy
        if output == "json":
            print_json(_json(found))
        else:
            _print(found)
        if save:
            _save(client, found.rules_policy, yes=yes)


def _certificate(place: str) -> bytes:
    """Read a certificate as the contract carries it."""
    try:
        return parse_pem(Path(place).read_text(encoding="ascii")).der
    except OSError as error:
        raise BadInputError(f"{place}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadInputError(f"{place}: is not a PEM certificate") from None
    except CertificateError as error:
        raise BadInputError(f"{place}: {error}") from None


def _find(client: Client, attempt: str) -> reports_pb2.Elevation:
    stub = reports_pb2_grpc.ReportingServiceStub(client.channel)
    try:
        return client.call(stub.GetElevation, reports_pb2.GetElevationRequest(attempt_id=attempt)).elevation
    except CallError as error:
        if error.absent:
            raise CommandError(
                f"there is no attempt {attempt!r}; epm report elevations lists those there are"
            ) from None
        raise


def _request(seen: reports_pb2.Elevation) -> analysis_pb2.ProposeRuleRequest:
    """Carry what a device reported to the question."""
    decided = seen.decided
    return analysis_pb2.ProposeRuleRequest(
        file=decided.file, platform=decided.platform, arguments=decided.arguments, origin=f"event {seen.attempt_id}"
    )


def _of_request(client: Client, request_id: str) -> analysis_pb2.ProposeRuleRequest:
    """Carry what a device sent with a request to the question."""
    found = find_request(client, request_id)
    asked = found.request
    return analysis_pb2.ProposeRuleRequest(
        file=asked.file,
        certificates=found.certificates,
        platform=asked.platform,
        arguments=asked.arguments,
        origin=f"request {asked.id}",
    )


def _propose(client: Client, request: analysis_pb2.ProposeRuleRequest) -> analysis_pb2.ProposeRuleResponse:
    """Ask for the rule; name options rather than fields where the server finds fault with them."""
    stub = analysis_pb2_grpc.AnalysisServiceStub(client.channel)
    try:
        return client.call(stub.ProposeRule, request)
    except RefusedInputError as error:
        said = [(_OPTIONS.get(field, field), text) for field, text in error.violations]
        raise BadInputError(*(f"{field}: {text}" if field else text for field, text in said)) from None


def _print(found: analysis_pb2.ProposeRuleResponse) -> None:
    for line in _remarks(found):
        click.echo(f"# {line}")
    click.echo(to_yaml(_shown(found)), nl=False)
    print_findings(found.findings, err=True)


def _remarks(found: analysis_pb2.ProposeRuleResponse) -> Iterator[str]:
    policy = found.rules_policy
    if policy.metadata.etag:
        yield f"a rule for the rules policy {show(policy.metadata.name)}"
    else:
        yield f"a new rules policy, {show(policy.metadata.name)}, for nobody until it is assigned"
    yield from (show(note) for note in found.notes)
    for other in found.existing:
        yield f"recognised already by the rule {show(other.rule)} of {show(other.name)}"


def _shown(found: analysis_pb2.ProposeRuleResponse) -> Record:
    """Give the document of a new policy, and of one that is there the rule alone."""
    document = _document(found.rules_policy)
    return cast("Record", _rules(document)[-1]) if found.rules_policy.metadata.etag else document


def _document(policy: policies_pb2.RulesPolicy) -> dict[str, Plain]:
    document = to_document(Kind.ElevationRulesPolicy, to_plain(policy))
    document.pop("status", None)
    return document


def _rules(document: Mapping[str, Plain]) -> Sequence[Plain]:
    return cast("Sequence[Plain]", cast("Record", document["spec"])["rules"])


def _json(found: analysis_pb2.ProposeRuleResponse) -> Record:
    document = _document(found.rules_policy)
    return {
        "rule": _rules(document)[-1],
        "policy": document,
        "etag": found.rules_policy.metadata.etag,
        "notes": list(found.notes),
        "findings": [to_plain(finding) for finding in found.findings],
        "existing": [to_plain(other) for other in found.existing],
    }


def _save(client: Client, policy: policies_pb2.RulesPolicy, *, yes: bool) -> None:
    """Save the policy as it was shown; one that somebody changes meanwhile stays."""
    stub, name = policies_pb2_grpc.PolicyServiceStub(client.channel), show(policy.metadata.name)
    if policy.metadata.etag:
        confirm(f"put this rule into the rules policy {name}?", yes=yes)
        client.call(stub.UpdateRulesPolicy, policies_pb2.UpdateRulesPolicyRequest(rules_policy=policy))
        click.echo(f"updated  ElevationRulesPolicy {name}", err=True)
    else:
        confirm(f"create the rules policy {name}?", yes=yes)
        client.call(stub.CreateRulesPolicy, policies_pb2.CreateRulesPolicyRequest(rules_policy=policy))
        click.echo(f"created  ElevationRulesPolicy {name}, assigned to nobody", err=True)
