"""The policy document of a device, whole, and the grants in it."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from elevation.certificates import to_pem
from elevation.codec.rules import decode_pem, decode_platform, decode_rule, encode_platform, encode_rule
from elevation.codec.settings import decode_settings, encode_conflict, encode_settings
from elevation.codec.strict import CodecError, refuse_unknown
from elevation.document import PolicyDocument, UserPolicy
from elevation.model import Grant, ReusableCertificate, RulesPolicy
from epm.elevation.v1 import document_pb2


def encode_document(document: PolicyDocument) -> document_pb2.PolicyDocument:
    """Encode a document with everything sorted, so that the same content gives the same bytes."""
    message = document_pb2.PolicyDocument(
        device_id=document.device_id,
        device_name=document.device_name,
        rules_policies=[
            _encode_rules_policy(policy, document.revisions.get(policy.name, 0))
            for policy in sorted(document.rules_policies, key=lambda policy: policy.name)
        ],
        certificates=[
            document_pb2.DocumentCertificate(name=found.name, pem=to_pem(found.certificate))
            for found in sorted(document.certificates, key=lambda found: found.name)
        ],
        any_user=encode_user_policy(document.any_user),
        users=[encode_user_policy(user) for user in sorted(document.users, key=lambda user: user.user)],
        grants=[encode_grant(grant) for grant in sorted(document.grants, key=lambda grant: grant.id)],
    )
    if document.deprovision_time is not None:
        message.deprovision_time.CopyFrom(encode_time(document.deprovision_time))
    return message


def decode_document(message: document_pb2.PolicyDocument) -> PolicyDocument:
    """Decode a document; raise CodecError if anything in it, at any depth, is not understood."""
    refuse_unknown(message)
    return PolicyDocument(
        device_id=message.device_id,
        device_name=message.device_name,
        any_user=decode_user_policy(message.any_user),
        users=tuple(decode_user_policy(user) for user in message.users),
        rules_policies=tuple(_decode_rules_policy(policy) for policy in message.rules_policies),
        revisions={policy.name: policy.revision for policy in message.rules_policies},
        certificates=tuple(
            ReusableCertificate(found.name, decode_pem(found.pem, f'certificate "{found.name}"'))
            for found in message.certificates
        ),
        grants=tuple(decode_grant(grant) for grant in message.grants),
        deprovision_time=(
            decode_time(message.deprovision_time, "deprovisionTime") if message.HasField("deprovision_time") else None
        ),
    )


def encode_user_policy(user: UserPolicy) -> document_pb2.UserPolicy:
    """Encode what applies to one user."""
    return document_pb2.UserPolicy(
        user=user.user,
        settings=None if user.settings is None else encode_settings(user.settings),
        conflicts=[] if user.settings is None else [encode_conflict(found) for found in user.settings.conflicts],
        device_targeted=sorted(user.device_targeted),
        user_targeted=sorted(user.user_targeted),
    )


def decode_user_policy(message: document_pb2.UserPolicy) -> UserPolicy:
    """Decode what applies to one user."""
    settings = decode_settings(message.settings, message.conflicts) if message.HasField("settings") else None
    return UserPolicy(
        user=message.user,
        settings=settings,
        device_targeted=tuple(message.device_targeted),
        user_targeted=tuple(message.user_targeted),
    )


def encode_grant(grant: Grant) -> document_pb2.Grant:
    """Encode an approval in force."""
    return document_pb2.Grant(
        id=grant.id,
        user=grant.user,
        device=grant.device,
        sha256=grant.sha256,
        arguments=None if grant.arguments is None else document_pb2.GrantArguments(values=grant.arguments),
        not_before=encode_time(grant.not_before),
        expires=encode_time(grant.expires),
        uses_left=grant.uses_left,
    )


def decode_grant(message: document_pb2.Grant) -> Grant:
    """Decode an approval in force; raise CodecError where its times are missing."""
    path = f'grant "{message.id}"'
    if not message.HasField("not_before") or not message.HasField("expires"):
        raise CodecError(path, "lacks notBefore or expires")
    return Grant(
        id=message.id,
        user=message.user,
        device=message.device,
        sha256=message.sha256,
        arguments=tuple(message.arguments.values) if message.HasField("arguments") else None,
        not_before=decode_time(message.not_before, f"{path}.notBefore"),
        expires=decode_time(message.expires, f"{path}.expires"),
        uses_left=message.uses_left if message.HasField("uses_left") else None,
    )


def encode_time(time: datetime) -> Timestamp:
    """Encode an aware time."""
    message = Timestamp()
    message.FromDatetime(time)
    return message


def decode_time(message: Timestamp, path: str) -> datetime:
    """Decode a time; raise CodecError where it is out of range."""
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise CodecError(path, "is not a time") from None


def _encode_rules_policy(policy: RulesPolicy, revision: int) -> document_pb2.DocumentRulesPolicy:
    return document_pb2.DocumentRulesPolicy(
        name=policy.name,
        revision=revision,
        platform=encode_platform(policy.platform),
        rules=[encode_rule(rule) for rule in policy.rules],
    )


def _decode_rules_policy(message: document_pb2.DocumentRulesPolicy) -> RulesPolicy:
    path = f'rules policy "{message.name}"'
    return RulesPolicy(
        name=message.name,
        platform=decode_platform(message.platform, f"{path}.platform"),
        rules=tuple(decode_rule(rule, f"{path}.rules[{number}]") for number, rule in enumerate(message.rules)),
    )
