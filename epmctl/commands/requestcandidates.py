"""`epm requests candidates`: files that are approved again and again, and how to make the rule that ends that."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, cast

import click

from epm.policy.v1 import requests_pb2
from epmctl.client import logged_in
from epmctl.fitted import Fit, print_fitted
from epmctl.kinds.model import Column, at
from epmctl.moments import METAVAR, past
from epmctl.output import Plain, Record, output_option, print_json
from epmctl.plain import to_plain, to_timestamp
from epmctl.requestcalls import requests_of
from epmctl.requestdenial import rule_named

_FEWEST: Final = 2
_USUAL: Final = 20
_MOST: Final = 100
_LARGEST: Final = (1 << 32) - 1


@click.command()
@click.option("--since", type=past, metavar=METAVAR, help="Approved since then; else in the last 30 days.")
@click.option(
    "--approvals",
    type=click.IntRange(1, _LARGEST),
    default=_FEWEST,
    show_default=True,
    help="Only files that were approved at least so often.",
)
@click.option("--limit", type=click.IntRange(1, _MOST), default=_USUAL, show_default=True, help="How many at most.")
@output_option
def candidates(*, since: datetime | None, approvals: int, limit: int, output: str) -> None:
    """List files that were approved more than once, most approvals first, with the command that makes a rule for each.

    LINT is what the server finds about that rule; it stands there for those alone who may read policies. DENIED BY names a
    rule that denies the file already: it comes before any other.
    """
    asked = requests_pb2.ListRuleCandidatesRequest(
        reviewed_from=to_timestamp(since), approvals=approvals, page_size=limit
    )
    with logged_in() as client:
        answer = client.call(requests_of(client).ListRuleCandidates, asked)
    rows = [_record(each) for each in answer.candidates]
    if output == "json":
        print_json(rows)
    else:
        print_fitted(_COLUMNS, rows, _FIT)


def _record(candidate: requests_pb2.RuleCandidate) -> Record:
    command = f"epm rule propose --request {candidate.request_id}"
    return {**to_plain(candidate), "command": command}


def _denied_by(record: Record) -> Plain:
    denial = cast("Record | None", record["deniedBy"])
    if not denial:
        return None
    return rule_named(cast("str", denial["policy"]), cast("str", denial["rule"]))


def _lint(record: Record) -> Plain:
    """Name what lint finds, worst first; nothing where there is no rule to look at."""
    if not record["rule"]:
        return None
    findings = cast("list[Record]", record["findings"])
    return ", ".join(f"{finding['id']} {str(finding['severity']).lower()}" for finding in findings) or "no findings"


_COLUMNS: Final[Mapping[str, Column]] = {
    "APPROVED": at("approvals"),
    "USERS": at("users"),
    "DEVICES": at("devices"),
    "FILE": at("file.path"),
    "PUBLISHER": at("file.publisher"),
    "LINT": _lint,
    "DENIED BY": _denied_by,
    "COMMAND": at("command"),
}
_FIT: Final = Fit(
    whole=("COMMAND",),
    spare=("PUBLISHER", "DEVICES", "USERS", "LINT", "DENIED BY", "APPROVED"),
    filled=("DENIED BY",),
)
