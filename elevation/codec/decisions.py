"""Evidence of files, and decisions on attempts."""

from collections.abc import Iterator
from dataclasses import dataclass

from elevation.certificates import CertificateError, parse_der
from elevation.codec.events import encode_loser
from elevation.codec.rules import decode_validations, encode_validations
from elevation.codec.strict import CodecError
from elevation.codec.words import decode_word, encode_word
from elevation.model import (
    Certificate,
    Decision,
    ElevationType,
    FileEvidence,
    Loser,
    LostAt,
    NearMiss,
    Outcome,
    Signer,
    Source,
    Validation,
)
from elevation.paths import is_sha256
from epm.elevation.v1 import decision_pb2, event_pb2, rules_pb2


@dataclass(frozen=True, slots=True)
class ToldDecision:
    """A decision as somebody else tells it: with its reason in words alone."""

    outcome: Outcome
    managed: bool
    source: Source
    reason: str
    elevation_type: ElevationType | None = None
    validations: frozenset[Validation] = frozenset()
    policy: str | None = None
    """None: no rule decided, or one of a policy that we may not see."""
    rule: str | None = None
    grant: str | None = None
    losers: tuple[Loser, ...] = ()
    near_misses: tuple[NearMiss, ...] = ()


def encode_evidence(file: FileEvidence) -> decision_pb2.FileEvidence:
    """Encode what is known of a file."""
    return decision_pb2.FileEvidence(
        path=file.path,
        sha256=file.sha256,
        version=file.version,
        description=file.description,
        product_name=file.product_name,
        internal_name=file.internal_name,
        company_name=file.company_name,
        root_only_path=file.root_only_path,
        signers=[encode_signer(signer) for signer in file.signers],
        remote=not file.local,
    )


def decode_evidence(message: decision_pb2.FileEvidence, path: str = "file") -> FileEvidence:
    """Decode what is known of a file; raise CodecError with the first of its faults."""
    for place, fault in evidence_faults(message, path):
        raise CodecError(place, fault)
    return FileEvidence(
        path=message.path,
        sha256=message.sha256,
        version=message.version,
        description=message.description,
        product_name=message.product_name,
        internal_name=message.internal_name,
        company_name=message.company_name,
        root_only_path=message.root_only_path,
        signers=tuple(decode_signer(signer, f"{path}.signers[{at}]") for at, signer in enumerate(message.signers)),
        local=not message.remote,
    )


def evidence_faults(message: decision_pb2.FileEvidence, path: str = "file") -> Iterator[tuple[str, str]]:
    """Name the place of everything in evidence that cannot be read, and what is wrong there."""
    if message.sha256 and is_sha256(message.sha256) is None:
        yield f"{path}.sha256", "must be a SHA-256, 64 hexadecimal digits; leave it empty if it is not known"
    for at, signer in enumerate(message.signers):
        place = f"{path}.signers[{at}]"
        for where, der in ((f"{place}.leaf", signer.leaf), *_chain(signer, place)):
            try:
                _certificate(der, where)
            except CodecError as error:
                yield where, error.fault


def encode_signer(signer: Signer) -> decision_pb2.Signer:
    """Encode one signature of a file."""
    return decision_pb2.Signer(
        leaf=signer.leaf.der, chain=[issuer.der for issuer in signer.chain], trusted=signer.trusted
    )


def decode_signer(message: decision_pb2.Signer, path: str = "signer") -> Signer:
    """Decode one signature of a file; raise CodecError for what is no certificate."""
    return Signer(
        leaf=_certificate(message.leaf, f"{path}.leaf"),
        chain=tuple(_certificate(der, where) for where, der in _chain(message, path)),
        trusted=message.trusted,
    )


def encode_near_miss(miss: NearMiss) -> decision_pb2.NearMiss:
    """Encode a rule that nearly matched."""
    return decision_pb2.NearMiss(policy=miss.policy, rule=miss.rule, failed=miss.failed)


def encode_decision(decision: Decision) -> decision_pb2.Decision:
    """Encode a decision, with its losers and near misses."""
    number = 0 if decision.elevation_type is None else encode_word(decision.elevation_type)
    return decision_pb2.Decision(
        outcome=event_pb2.Outcome.ValueType(encode_word(decision.outcome)),
        managed=decision.managed,
        elevation_type=rules_pb2.ElevationType.ValueType(number),
        validations=encode_validations(decision.validations),
        source=event_pb2.Source.ValueType(encode_word(decision.source)),
        policy=decision.policy or "",
        rule=decision.rule or "",
        grant_id=decision.grant or "",
        losers=[encode_loser(loser) for loser in decision.losers],
        near_misses=[encode_near_miss(miss) for miss in decision.near_misses],
        reason=decision.reason,
    )


def decode_decision(message: decision_pb2.Decision, path: str = "decision") -> ToldDecision:
    """Decode a decision; raise CodecError for words that are not known."""
    typed = message.elevation_type != rules_pb2.ELEVATION_TYPE_UNSPECIFIED
    return ToldDecision(
        outcome=decode_word(Outcome, message.outcome, f"{path}.outcome"),
        managed=message.managed,
        source=decode_word(Source, message.source, f"{path}.source"),
        reason=message.reason,
        elevation_type=decode_word(ElevationType, message.elevation_type, f"{path}.elevationType") if typed else None,
        validations=decode_validations(message.validations, f"{path}.validations"),
        policy=message.policy or None,
        rule=message.rule or None,
        grant=message.grant_id or None,
        losers=tuple(_decode_loser(loser, f"{path}.losers[{at}]") for at, loser in enumerate(message.losers)),
        near_misses=tuple(NearMiss(miss.policy, miss.rule, miss.failed) for miss in message.near_misses),
    )


def _decode_loser(message: event_pb2.Loser, path: str) -> Loser:
    return Loser(message.policy, message.rule, decode_word(LostAt, message.lost_at, f"{path}.lostAt"))


def _chain(message: decision_pb2.Signer, path: str) -> Iterator[tuple[str, bytes]]:
    return ((f"{path}.chain[{at}]", der) for at, der in enumerate(message.chain))


def _certificate(der: bytes, path: str) -> Certificate:
    try:
        return parse_der(der)
    except CertificateError as error:
        raise CodecError(path, str(error)) from error
