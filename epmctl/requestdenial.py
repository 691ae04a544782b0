"""Tell an approver what denies the file that is asked for: no approval changes that on the device."""

from collections.abc import Iterator

from epm.policy.v1 import requests_pb2


def named(denial: requests_pb2.StandingDenial) -> str:
    """Name what denies a file."""
    if denial.default_response:
        return "the default response"
    return rule_named(denial.policy, denial.rule)


def rule_named(policy: str, rule: str) -> str:
    """Name a rule that denies; no name is told of one that the caller may not see."""
    return f"{policy}/{rule}" if rule else "a rule that you may not see"


def denial_of(found: requests_pb2.GetElevationRequestResponse) -> str:
    """Name what denies the file of a request today, and where it does; empty where nothing does."""
    if not found.HasField("denied_by"):
        return ""
    where = " and ".join(_conditions(found.denied_by))
    return f"{named(found.denied_by)}, whatever is approved" + (f", where {where}" if where else "")


def _conditions(denial: requests_pb2.StandingDenial) -> Iterator[str]:
    if denial.signature_trusted:
        yield "the device trusts the signature"
    if denial.root_only:
        yield "root alone can write the file"
