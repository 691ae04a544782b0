"""Content as the store keeps it: the message of the contract, without what the store knows by itself."""

from typing import cast

from elevation.model import ReusableCertificate, RulesPolicy, SettingsPolicy
from epm.policy.v1 import policies_pb2
from services.policy.codec.authored import certificate_to_proto, rules_policy_to_proto, settings_policy_to_proto
from services.policy.codec.drafts import certificate_from_proto, rules_policy_from_proto, settings_policy_from_proto
from services.policy.model.drafts import Draft
from services.policy.model.objects import AnyContent, Content


def to_bytes(content: AnyContent) -> bytes:
    """Write the content."""
    match content:
        case SettingsPolicy():
            return settings_policy_to_proto(content).SerializeToString()
        case RulesPolicy():
            return rules_policy_to_proto(content).SerializeToString()
        case ReusableCertificate():
            return certificate_to_proto(content).SerializeToString()


def from_bytes(kind: type[Content], kept: bytes) -> Content:
    """Read the content. Raises ValueError if it holds anything that this version does not know."""
    draft = _draft(kind, kept)
    if draft.flaws:
        raise ValueError(f"{draft.title} was written by a newer version: {draft.flaws[0]}")
    return cast("Content", draft.content)


def _draft(kind: type[Content], kept: bytes) -> Draft[AnyContent]:
    if issubclass(kind, SettingsPolicy):
        return settings_policy_from_proto(policies_pb2.SettingsPolicy.FromString(kept))
    if issubclass(kind, RulesPolicy):
        return rules_policy_from_proto(policies_pb2.RulesPolicy.FromString(kept))
    return certificate_from_proto(policies_pb2.ReusableCertificate.FromString(kept))
