"""Model to row, and back."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from elevation.model import GroupType, ReportingScope
from services.device.model.credentials import Certificate, Credentials
from services.device.model.devices import Attested, Device, EnrolmentState, Facts, Origin, Ownership
from services.device.model.groups import Group
from services.device.model.lifecycle import Desired, EpmState, Lifecycle
from services.device.model.reporting import SCOPES, Reported
from services.device.model.tokens import EnrolmentToken
from services.device.model.used_groups import UsedGroup, UsedGroups
from services.device.store.tables import GROUPS, TOKENS

Row = Mapping[str, Any]


def device_row(device: Device) -> Row:
    """Return the device as its row."""
    facts, attested, lifecycle = device.facts, device.attested, device.lifecycle
    return {
        "device_id": device.device_id,
        "name": device.name,
        "enrolled_name": device.name if device.is_enrolled else None,
        "enrolment": device.enrolment.value,
        "os": facts.os,
        "os_version": facts.os_version,
        "architecture": facts.architecture,
        "agent_version": facts.agent_version,
        "reported_users": facts.users,
        "users": attested.users,
        "tags": attested.tags,
        "ownership": attested.ownership.value,
        "scope_tags": attested.scope_tags,
        "token_id": device.origin.token_id,
        "key_digest": device.origin.key_digest,
        "allow_reported_users": device.origin.allow_reported_users,
        **_credentials_row(device.credentials),
        "suspected_clone": device.suspected_clone,
        "quarantined": device.quarantined,
        "enrolled": device.enrolled,
        "epm_state": lifecycle.state.value,
        "desired": lifecycle.desired.value,
        "deprovision_time": lifecycle.deprovision_time,
        "policy_lost": lifecycle.lost,
        "policy_revision": lifecycle.policy_revision,
        "reporting_scope": device.reported.scope.value if device.reported.scope else "",
        "reported_until": {scope.value: time.isoformat() for scope, time in device.reported.until},
        "last_check_in": device.last_check_in,
        "version": device.version,
        "revision": device.revision,
    }


def device_of(row: Row) -> Device:
    """Return the device of a row."""
    return Device(
        device_id=row["device_id"],
        name=row["name"],
        facts=Facts(
            os=row["os"],
            os_version=row["os_version"],
            architecture=row["architecture"],
            agent_version=row["agent_version"],
            users=tuple(row["reported_users"]),
        ),
        attested=Attested(
            users=tuple(row["users"]),
            tags=tuple(row["tags"]),
            ownership=Ownership(row["ownership"]),
            scope_tags=tuple(row["scope_tags"]),
        ),
        origin=Origin(**{name: row[name] for name in ("token_id", "key_digest", "allow_reported_users")}),
        enrolled=row["enrolled"],
        enrolment=EnrolmentState(row["enrolment"]),
        credentials=Credentials(
            _certificate(row, "certificate"),
            _certificate(row, "unused"),
            replaced=tuple(row["replaced_serials"]),
            ended=tuple(row["ended_serials"]),
        ),
        suspected_clone=row["suspected_clone"],
        quarantined=row["quarantined"],
        lifecycle=Lifecycle(
            EpmState(row["epm_state"]),
            Desired(row["desired"]),
            row["deprovision_time"],
            row["policy_revision"],
            row["policy_lost"],
        ),
        reported=_reported(row),
        last_check_in=row["last_check_in"],
        version=row["version"],
        revision=row["revision"],
    )


def token_row(token: EnrolmentToken) -> Row:
    """Return the enrolment token as its row."""
    return {column.name: getattr(token, column.name) for column in TOKENS.columns}


def group_row(group: Group) -> Row:
    """Return the group, or its tombstone, as its row."""
    return {column.name: getattr(group, column.name) for column in GROUPS.columns} | {"type": group.type.value}


def token_of(row: Row) -> EnrolmentToken:
    """Return the enrolment token of a row."""
    lists = {name: tuple(row[name]) for name in ("users", "groups", "tags", "scope_tags", "device_names")}
    return EnrolmentToken(**{**row, **lists})


def group_of(row: Row) -> Group:
    """Return the group of a row, or its tombstone."""
    lists = {name: tuple(row[name]) for name in ("members", "scope_tags", "groups")}
    return Group(**{**row, **lists, "type": GroupType(row["type"])})


def used_row(used: UsedGroups) -> Row:
    """Return the groups that policies are assigned to as their one row."""
    groups = [{"name": each.name, "filters": each.filters, "any_filter": each.any_filter} for each in used.groups]
    return {"id": 1, "revision": used.revision, "groups": groups}


def used_of(row: Row) -> UsedGroups:
    """Return the groups that policies are assigned to."""
    groups = (UsedGroup(each["name"], tuple(each["filters"]), each["any_filter"]) for each in row["groups"])
    return UsedGroups(row["revision"], tuple(groups))


def _credentials_row(credentials: Credentials) -> Row:
    row: dict[str, Any] = {"replaced_serials": credentials.replaced, "ended_serials": credentials.ended}
    for name, held in (("certificate", credentials.current), ("unused", credentials.unused)):
        row[f"{name}_serial"] = held.serial if held else ""
        row[f"{name}_key"] = held.key_digest if held else ""
        row[f"{name}_expires"] = held.expires if held else None
    return row


def _reported(row: Row) -> Reported:
    until = {ReportingScope(scope): datetime.fromisoformat(time) for scope, time in row["reported_until"].items()}
    scope = ReportingScope(row["reporting_scope"]) if row["reporting_scope"] else None
    return Reported(scope, tuple((each, until[each]) for each in SCOPES if each in until))


def _certificate(row: Row, name: str) -> Certificate | None:
    serial, expires = row[f"{name}_serial"], row[f"{name}_expires"]
    return Certificate(serial, expires, row[f"{name}_key"]) if serial and expires else None
