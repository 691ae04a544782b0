"""Show an answer as plain values: the JSON form of a decision, and what became of it."""

from typing import Any

from agent_stub.model import Answer
from elevation.model import Decision, FileEvidence, Validation


def present_answer(answer: Answer) -> dict[str, Any]:
    """Show how an attempt went."""
    return {
        "attemptId": answer.attempt_id,
        "result": answer.result.name,
        "message": answer.message,
        "requestId": answer.request_id or None,
        "decision": present_decision(answer.decision),
        "platform": answer.platform.name,
        "file": _present_file(answer.file)
        | {"kind": answer.kind, "interpreter": answer.interpreter, "ownerUid": answer.owner},
    }


def present_decision(decision: Decision) -> dict[str, Any]:
    """Show a decision in the form that `epm simulate` prints."""
    return {
        "outcome": decision.outcome.name,
        "managed": decision.managed,
        "elevationType": decision.elevation_type.name if decision.elevation_type else None,
        "validations": [validation.name for validation in Validation if validation in decision.validations],
        "source": decision.source.name,
        "policy": decision.policy,
        "rule": decision.rule,
        "losers": [
            {"policy": loser.policy, "rule": loser.rule, "lostAt": loser.lost_at.name} for loser in decision.losers
        ],
        "nearMisses": [
            {"policy": miss.policy, "rule": miss.rule, "failed": miss.failed} for miss in decision.near_misses
        ],
        "reason": decision.reason,
    }


def _present_file(file: FileEvidence) -> dict[str, Any]:
    return {
        "path": file.path,
        "sha256": file.sha256,
        "version": file.version,
        "description": file.description,
        "productName": file.product_name,
        "internalName": file.internal_name,
        "companyName": file.company_name,
        "rootOnlyPath": file.root_only_path,
        "signers": [{"subject": signer.leaf.subject, "trusted": signer.trusted} for signer in file.signers],
    }
