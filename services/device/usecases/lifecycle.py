"""Move the EPM state of devices: by what the policy service reports, and by the time."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services._chassis.errors import InvalidError, Problem
from services._chassis.logging import get_logger
from services.device.model.lifecycle import Lifecycle, SettingsReport, settle, settle_time
from services.device.ports import Store
from services.device.usecases.moves import Moves

log = get_logger("device.lifecycle")
MOST_REPORTS = 1000
SWEEP_BATCH = 200


async def report_settings(
    store: Store, reports: Sequence[SettingsReport], *, now: datetime, deprovision_after: timedelta
) -> None:
    """Take in settings states; again, or older than what is known, changes nothing. Raises InvalidError.

    Devices that are not known or not enrolled, or have enrolled again since, are passed over: the policy service works from a
    directory that may be newer or older.
    """
    if problems := list(_problems(reports)):
        raise InvalidError(problems)
    async with store.transaction() as work:
        moves = Moves(await work.devices.many({report.device_id for report in reports}), now=now)
        for report in reports:
            device = moves.after.get(report.device_id)
            if device is None or not device.is_enrolled or report.enrolled not in (None, device.enrolled):
                log.info("settings_state_passed_over", device_id=report.device_id)
                continue
            steps = settle(device.lifecycle, report, now=now, deprovision_after=deprovision_after)
            if report.revision >= device.lifecycle.policy_revision:
                device = replace(device, reported=device.reported.told(report.scope, now))
            moves.take(device, steps)
        await moves.keep(work)


async def sweep(store: Store, *, now: datetime) -> int:
    """Move a batch of the devices whose time has come to DEPROVISIONING; return how many there were to look at.

    A device is moved only if it is due still, and on what the sweep saw, in the transaction that moves it: a policy may have
    returned meanwhile, and another replica may have been faster.
    """
    async with store.read() as work:
        seen = await work.devices.due(now, limit=SWEEP_BATCH)
    if not seen:
        return 0
    then = {device.device_id: device.lifecycle for device in seen}
    async with store.transaction() as work:
        moves = Moves(await work.devices.many(then), now=now)
        for device in moves.before.values():
            if device.is_enrolled and _rests_on_the_same(device.lifecycle, then[device.device_id]):
                moves.take(device, (settle_time(device.lifecycle, now),))
        await moves.keep(work)
    return len(seen)


def _rests_on_the_same(now: Lifecycle, then: Lifecycle) -> bool:
    return (now.policy_revision, now.deprovision_time) == (then.policy_revision, then.deprovision_time)


def _problems(reports: Sequence[SettingsReport]) -> Iterator[Problem]:
    if len(reports) > MOST_REPORTS:
        yield Problem("states", f"has {len(reports)} entries; at most {MOST_REPORTS} are allowed in one call")
