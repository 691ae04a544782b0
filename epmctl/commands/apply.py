"""`epm apply`: make the server hold what documents say, or what a plan says."""

from collections.abc import Sequence
from dataclasses import asdict
from os import environ
from typing import Final

import click

from epm.policy.v1 import lint_pb2
from epmctl.ascode.application import Application, Outcome
from epmctl.ascode.binding import bind, kinds_of
from epmctl.ascode.canonical import of_documents
from epmctl.ascode.live import read_live
from epmctl.ascode.options import owner_of, owner_options, read_documents
from epmctl.ascode.outlook import lint_ahead
from epmctl.ascode.plan import Action
from epmctl.ascode.planfile import installation_of, read_plan, refuse_other_server
from epmctl.ascode.prepare import Prepared, prepare, same_already, settled
from epmctl.ascode.show import said_of_drift
from epmctl.client import Client, connected, with_fresh_token
from epmctl.documents.load import load_texts
from epmctl.documents.wire import to_requests
from epmctl.findings import print_findings
from epmctl.output import output_option, print_json, show
from epmctl.plain import to_plain
from epmctl.profile import Profile, find_profile
from epmctl.reason import reason_option
from epmctl.visible import visible

_PLACES_HELP: Final = "Documents to apply: a file, or the *.yaml and *.yml of a folder; again for more; - for stdin."


@click.command()
@click.option("-f", "--file", "places", multiple=True, metavar="DIR|FILE", help=_PLACES_HELP)
@click.option("--plan", "planned", metavar="FILE", help="Apply exactly what epm plan -o FILE kept.")
@owner_options
@click.option("--dry-run", is_flag=True, help="Check everything and write nothing.")
@reason_option
@output_option
def apply(
    places: tuple[str, ...],
    *,
    planned: str | None,
    prune: bool,
    owner: str | None,
    dry_run: bool,
    reason: str,
    output: str,
) -> None:
    """Make the server hold what the documents say, or what a plan says.

    Everything is checked before anything is written, and nothing is written over what somebody else changed since it was
    read or planned. What no document speaks of stays as it is, unless --prune says otherwise.
    """
    _check_options(places, planned, prune=prune, owner=owner)
    label = owner_of(owner, prune=prune)
    documents = read_documents(places) if planned is None else ()
    profile = with_fresh_token(find_profile(environ))
    with connected(profile, reason) as client:
        if planned is None:
            prepared = prepare(client, documents, owner=label, prune=prune, deleted=False)
            _say(prepared)
            application = prepared.application
        else:
            application = _from_plan(client, planned, profile)
        checked = application.check()
        ahead = _lint_of_groups(client, application)
        if dry_run:
            _print(checked, _merged(ahead, application.findings), output, dry_run=True)
        else:
            _write(application, ahead, output)


def _check_options(places: Sequence[str], planned: str | None, *, prune: bool, owner: str | None) -> None:
    if planned is None and not places:
        raise click.UsageError("name documents with -f, or a plan with --plan")
    if planned is not None and (places or prune or owner):
        raise click.UsageError("--plan says everything by itself; leave out -f, --prune and --owner")


def _from_plan(client: Client, place: str, profile: Profile) -> Application:
    """Read a plan and fit it to the server; raise CommandError where it was made for another one, or what it expects changed."""
    plan = read_plan(place)
    refuse_other_server(plan, installation_of(profile), place)
    documents = load_texts(plan.sources(place)).documents
    files = of_documents(documents)
    live = read_live(client, kinds_of([*files, *plan.terms.deletions]))
    requests = to_requests(documents)
    bind(requests, settled(plan.terms, files, live))
    return Application(client, requests, documents, unchanged=same_already(files, live))


def _say(prepared: Prepared) -> None:
    """Say what is put back that others changed by hand, and what cannot be told."""
    for one in prepared.plan.changes:
        for said in said_of_drift(one.drift):
            what = "goes" if one.action is Action.DELETE else "the files put it back"
            click.echo(f"{one.ref[0].name} {show(one.ref[1])}: {said}; {what}", err=True)
    for note in prepared.notes:
        click.echo(visible(note), err=True)


def _lint_of_groups(client: Client, application: Application) -> Sequence[lint_pb2.Finding]:
    """Ask what lint would find where groups change: the service that takes them knows nothing of policies."""
    if not application.groups_change:
        return ()
    ahead = lint_ahead(client, application.draft)
    for note in ahead.untold:
        click.echo(visible(note), err=True)
    return ahead.findings


def _merged(ahead: Sequence[lint_pb2.Finding], told: Sequence[lint_pb2.Finding]) -> Sequence[lint_pb2.Finding]:
    """Give the findings of both, each once, the worst first."""
    both = [*ahead, *(finding for finding in told if finding not in ahead)]
    return sorted(both, key=lambda finding: finding.severity, reverse=True)


def _write(application: Application, ahead: Sequence[lint_pb2.Finding], output: str) -> None:
    """Write, and only then print what stands: a reader that goes away must not stop a part from being written."""
    written: list[Outcome] = []
    try:
        for outcomes in application.write():
            written += outcomes
    finally:
        _print(written, _merged(ahead, application.findings), output, dry_run=False)


def _print(outcomes: Sequence[Outcome], findings: Sequence[lint_pb2.Finding], output: str, *, dry_run: bool) -> None:
    if output == "json":
        objects = [asdict(outcome) for outcome in outcomes]
        print_json({"dryRun": dry_run, "objects": objects, "findings": [to_plain(finding) for finding in findings]})
        return
    for outcome in outcomes:
        click.echo(f"{outcome.action.lower():<9}  {show(outcome.kind)} {show(outcome.name)}")
    print_findings(findings, err=True)
    if dry_run:
        click.echo("nothing was written: this is what would become of the objects", err=True)
