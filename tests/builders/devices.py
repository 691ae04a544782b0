"""Devices, enrolment tokens and groups of which a test says what matters to it."""

from dataclasses import replace
from datetime import timedelta

from elevation.model import GroupType
from services._chassis.auth import digest_of
from services.device.model.devices import Attested, Device, EnrolmentState, Facts, Origin
from services.device.model.groups import Group
from services.device.model.lifecycle import Lifecycle
from services.device.model.tokens import EnrolmentToken
from services.device.usecases.bounds import Bounds
from services.device.usecases.visibility import Standing
from tests.fakes.access import permit
from tests.fakes.clock import NOW, FakeClock

FREE = Standing(lambda right: permit(right, everything=True), lambda _: ())
"""Stand as an Owner does, who lacks nothing."""
LINUX = Facts(os="linux", os_version="6.1", architecture="x86_64", agent_version="0.1.0")


def some_bounds(clock: FakeClock | None = None) -> Bounds:
    """Return bounds of which nobody has taken anything yet."""
    return Bounds(monotonic=(clock or FakeClock()).monotonic, certificate_lifetime=timedelta(days=90))


def a_device(
    device_id: str = "d1",
    name: str = "",
    *,
    facts: Facts = LINUX,
    attested: Attested | None = None,
    origin: Origin | None = None,
    lifecycle: Lifecycle | None = None,
    retired: bool = False,
    scope_tags: tuple[str, ...] = ("default",),
    revision: int = 1,
) -> Device:
    """Return an enrolled device, named after its id."""
    return Device(
        device_id=device_id,
        name=name or f"ws-{device_id}",
        facts=facts,
        attested=replace(attested or Attested(), scope_tags=scope_tags),
        origin=origin or Origin(token_id="t1", key_digest=f"key-of-{device_id}"),
        enrolled=NOW,
        enrolment=EnrolmentState.RETIRED if retired else EnrolmentState.ENROLLED,
        lifecycle=lifecycle or Lifecycle(),
        revision=revision,
    )


def a_token(
    token_id: str = "t1",  # noqa: S107 - an id opens nothing
    *,
    text: str = "",
    quota: int = 10,
    used: int = 0,
    groups: tuple[str, ...] = (),
    users: tuple[str, ...] = (),
    allow_reported_users: bool = False,
    tags: tuple[str, ...] = (),
    scope_tags: tuple[str, ...] = ("default",),
    device_id: str = "",
    device_names: tuple[str, ...] = (),
) -> EnrolmentToken:
    """Return a token that counts for a week; its text is its id unless the test says another."""
    return EnrolmentToken(
        token_id=token_id,
        digest=digest_of(text or token_id),
        quota=quota,
        used=used,
        created=NOW,
        expires=NOW + timedelta(days=7),
        groups=groups,
        users=users,
        allow_reported_users=allow_reported_users,
        tags=tags,
        scope_tags=scope_tags,
        device_id=device_id,
        device_names=device_names,
    )


def a_group(
    name: str = "kiosks",
    *members: str,
    type: GroupType = GroupType.DEVICE,  # noqa: A002 - the noun's own name for it
    filter: str = "",  # noqa: A002 - same
    groups: tuple[str, ...] = (),
    scope_tags: tuple[str, ...] = ("default",),
    deleted: bool = False,
    revision: int = 1,
) -> Group:
    """Return a group with the members, or with a filter."""
    return Group(
        name=name,
        type=type,
        members=tuple(sorted(members)),
        filter=filter,
        groups=groups,
        scope_tags=scope_tags,
        deleted=deleted,
        revision=revision,
    )
