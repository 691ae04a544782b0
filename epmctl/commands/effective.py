"""`epm effective`: what applies to a device, or to a user on it, and why."""

from collections.abc import Sequence
from typing import Final

import click

from epm.policy.v1 import analysis_pb2, analysis_pb2_grpc
from epmctl.ascode.authored import POLICY_WORDS, UNSEEN
from epmctl.ascode.drafts import draft_of, refused
from epmctl.client import RefusedInputError, logged_in
from epmctl.documents.load import load
from epmctl.output import Plain, output_option, print_json, print_table, show
from epmctl.plain import to_plain

_PLACES_HELP: Final = (
    "Documents as they would be, on top of what the server holds: a file, or the *.yaml and *.yml of a folder; again for"
    " more; - for stdin."
)


@click.command()
@click.argument("device")
@click.option("--user", default="", help="A user of the device; else whoever comes to it and is not bound to it.")
@click.option("--all", "with_others", is_flag=True, help="Tell of policies that do not apply too, and why.")
@click.option("-f", "--file", "places", multiple=True, metavar="DIR|FILE", help=_PLACES_HELP)
@output_option
def effective(*, device: str, user: str, with_others: bool, places: tuple[str, ...], output: str) -> None:
    """Tell which settings and policies apply to DEVICE, or to a user on it, and why.

    With -f, as if the documents had been applied; nothing is written.
    """
    draft = draft_of(load(places, closed=False) if places else None)
    request = analysis_pb2.GetEffectivePolicyRequest(
        device=device, user=user, with_others=with_others, draft=None if draft is None else draft.message
    )
    with logged_in() as client:
        stub = analysis_pb2_grpc.AnalysisServiceStub(client.channel)
        try:
            found = client.call(stub.GetEffectivePolicy, request)
        except RefusedInputError as error:
            raise refused(draft, error) from None
    if output == "json":
        print_json(to_plain(found))
    else:
        _print(found, user, with_others=with_others)


def _print(found: analysis_pb2.GetEffectivePolicyResponse, user: str, *, with_others: bool) -> None:
    click.echo(f"device  {show(found.device_name)} in {_listed(found.device_groups)}")
    click.echo(f"user    {show(user) if user else 'whoever comes to it'} in {_listed(found.user_groups)}")
    click.echo()
    if found.withheld_because:
        click.echo(f"nothing applies: {show(found.withheld_because)}")
        return
    if found.settings.HasField("settings"):
        print_table(("SETTING", "VALUE", "FROM"), [_setting(origin) for origin in found.settings.origins])
    else:
        click.echo("no settings policy applies, so nothing is active")
    if not found.policies:
        click.echo("no policy applies")
        return
    click.echo()
    headings = ("POLICY", "KIND", "REVISION", "FOR", *(("APPLIES",) if with_others else ()), "WHY")
    print_table(headings, [_policy(reach, with_others=with_others) for reach in found.policies])


def _setting(origin: analysis_pb2.SettingOrigin) -> Sequence[Plain]:
    source = ", ".join(name or UNSEEN for name in origin.policies) or "no policy"
    return origin.setting, origin.value, f"{source}; policies disagree" if origin.conflicting else source


def _policy(reach: analysis_pb2.PolicyReach, *, with_others: bool) -> Sequence[Plain]:
    why = "; ".join(reason.text for reason in reach.reasons)
    target = ("user" if reach.user_targeted else "device") if reach.applies else ""
    kind = POLICY_WORDS.get(reach.policy.kind, reach.policy.kind)
    applies = (reach.applies,) if with_others else ()
    return reach.policy.name or UNSEEN, kind, reach.revision or "", target, *applies, why


def _listed(groups: Sequence[str]) -> str:
    return show(list(groups)) if groups else "no group"
