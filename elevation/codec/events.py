"""What an agent reports of an attempt and its decision."""

import hashlib

from elevation.codec.rules import encode_platform
from elevation.codec.words import encode_word
from elevation.model import Attempt, Decision, FileEvidence, Loser
from epm.elevation.v1 import event_pb2, rules_pb2


def encode_decided(attempt: Attempt, decision: Decision) -> event_pb2.Decided:
    """Encode an attempt with its decision; revisions, the result and the justification are the caller's to add."""
    number = 0 if decision.elevation_type is None else encode_word(decision.elevation_type)
    parent = attempt.parent
    return event_pb2.Decided(
        user=attempt.user.name,
        administrator=attempt.user.administrator,
        trigger=event_pb2.Trigger.ValueType(encode_word(attempt.trigger)),
        platform=encode_platform(attempt.platform),
        file=encode_file(attempt.file),
        arguments=attempt.arguments,
        parent=None if parent is None else event_pb2.ParentProcess(policy=parent.policy, rule=parent.rule),
        outcome=event_pb2.Outcome.ValueType(encode_word(decision.outcome)),
        source=event_pb2.Source.ValueType(encode_word(decision.source)),
        managed=decision.managed,
        elevation_type=rules_pb2.ElevationType.ValueType(number),
        policy=decision.policy or "",
        rule=decision.rule or "",
        grant_id=decision.grant or "",
        losers=[encode_loser(loser) for loser in decision.losers],
        reason=decision.reason,
    )


def encode_file(file: FileEvidence) -> event_pb2.FileFacts:
    """Encode what is known of a file; of its signers the first one."""
    leaf = file.signers[0].leaf if file.signers else None
    return event_pb2.FileFacts(
        path=file.path,
        sha256=file.sha256.lower(),
        version=file.version,
        description=file.description,
        product_name=file.product_name,
        internal_name=file.internal_name,
        company_name=file.company_name,
        publisher="" if leaf is None else leaf.subject,
        publisher_fingerprint="" if leaf is None else hashlib.sha256(leaf.der).hexdigest(),
    )


def encode_loser(loser: Loser) -> event_pb2.Loser:
    """Encode a rule that matched and lost."""
    number = event_pb2.LostAt.ValueType(encode_word(loser.lost_at))
    return event_pb2.Loser(policy=loser.policy, rule=loser.rule, lost_at=number)
