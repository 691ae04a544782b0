"""`epm simulate --server`: ask a server what would happen, by the policies that it holds or with a draft on top.

A decision is printed in the same bytes as one that was made offline.
"""

import sys
from collections.abc import Mapping

import click

from elevation.codec.decisions import decode_decision, encode_evidence
from elevation.codec.document import encode_grant
from elevation.codec.strict import CodecError
from elevation.codec.words import encode_word
from elevation.model import Attempt
from epm.elevation.v1 import event_pb2, rules_pb2
from epm.policy.v1 import analysis_pb2, analysis_pb2_grpc
from epmctl.ascode.drafts import DraftDocuments, refused
from epmctl.client import Client, RefusedInputError, logged_in
from epmctl.documents.load import DocumentSet
from epmctl.errors import BadInputError, CommandError
from epmctl.plain import to_timestamp
from epmctl.simulation.decisions import decision_json, json_line

_KNOWN_THERE = "groups and attributes of the attempt are not used: the server knows those of the device and its user"


class ServerSimulator:
    """Asks about attempts, and prints the decisions once all of them are there."""

    def __init__(self, documents: DocumentSet | None, *, explained: bool, with_settings: bool, indented: bool) -> None:
        self._draft = None if documents is None else DraftDocuments(documents)
        self._explained = explained
        self._with_settings = with_settings
        self._indented = indented
        self._attempts: list[Attempt] = []

    def take(self, attempt: Attempt) -> None:
        """Take an attempt to ask about."""
        self._attempts.append(attempt)

    def run(self) -> None:
        """Ask about all attempts, and print what comes of them; raise CommandError where one is refused."""
        if self._draft is not None:
            self._draft.tell_others()
        if any(_says_what_the_server_knows(attempt) for attempt in self._attempts):
            click.echo(_KNOWN_THERE, err=True)
        with logged_in() as client:
            lines = [self._line(client, attempt) for attempt in self._attempts]
        sys.stdout.buffer.writelines(lines)
        sys.stdout.buffer.flush()

    def _line(self, client: Client, attempt: Attempt) -> bytes:
        stub = analysis_pb2_grpc.AnalysisServiceStub(client.channel)
        try:
            answer = client.call(stub.Simulate, self._request(attempt))
        except RefusedInputError as error:
            raise refused(self._draft, error) from None
        try:
            decision = decode_decision(answer.decision)
        except CodecError as error:
            raise CommandError(
                f"the server decides in words that this epm does not know ({error}); update it"
            ) from None
        form = decision_json(decision, explained=self._explained)
        if self._with_settings:
            form |= {"settings": settings_form(answer.settings), "applied": answer.applied}
        return json_line(form, indented=self._indented)

    def _request(self, attempt: Attempt) -> analysis_pb2.SimulateRequest:
        parent = attempt.parent
        try:
            return analysis_pb2.SimulateRequest(
                device=attempt.device.name,
                user=attempt.user.name,
                administrator=attempt.user.administrator,
                trigger=event_pb2.Trigger.ValueType(encode_word(attempt.trigger)),
                platform=rules_pb2.Platform.ValueType(encode_word(attempt.platform)),
                file=encode_evidence(attempt.file),
                arguments=attempt.arguments,
                parent=None if parent is None else event_pb2.ParentProcess(policy=parent.policy, rule=parent.rule),
                now=to_timestamp(attempt.now),
                policy_confirmed=to_timestamp(attempt.policy_confirmed),
                grants=[encode_grant(grant) for grant in attempt.grants],
                draft=None if self._draft is None else self._draft.message,
            )
        except UnicodeEncodeError:
            raise BadInputError(
                "the attempt holds half a character, which no server takes; correct the escape"
            ) from None


def settings_form(settings: analysis_pb2.EffectiveSettings) -> Mapping[str, Mapping[str, object]]:
    """Give the settings that count, each with the policies that say so; none where no settings policy applies."""
    return {
        origin.setting: {
            "value": origin.value,
            "policies": list(origin.policies),
            "conflicting": origin.conflicting,
        }
        for origin in settings.origins
    }


def _says_what_the_server_knows(attempt: Attempt) -> bool:
    return bool(attempt.device.groups or attempt.device.attributes or attempt.user.groups)
