"""`epm duplicate`: make a policy or a certificate like another one."""

import click

from epm.policy.v1 import policies_pb2, policies_pb2_grpc
from epmctl.ascode.authored import content, find_authored, reference
from epmctl.client import logged_in
from epmctl.documents.written import to_document
from epmctl.findings import print_findings
from epmctl.output import output_option, print_json, show
from epmctl.plain import to_plain
from epmctl.reason import reason_option


@click.command()
@click.argument("kind")
@click.argument("name")
@click.argument("new_name", metavar="NEW")
@reason_option
@output_option
def duplicate(*, kind: str, name: str, new_name: str, reason: str, output: str) -> None:
    """Make NEW, a policy or a certificate with the content, tags and labels of NAME; nobody gets it yet.

    KIND is settings-policy, rules-policy or certificate.
    """
    _, document = find_authored(kind)
    request = policies_pb2.DuplicateObjectRequest(original=reference(document, name), new_name=new_name)
    with logged_in(reason) as client:
        answer = client.call(policies_pb2_grpc.PolicyServiceStub(client.channel).DuplicateObject, request)
    if output == "json":
        made = to_document(document, to_plain(content(answer.object)))
        print_json({"object": made, "findings": [to_plain(finding) for finding in answer.findings]})
        return
    click.echo(f"created  {document.name} {show(new_name)}, assigned to nobody")
    print_findings(answer.findings)
