"""Notice what comes into the sight of those who watch requests: a device gets another scope tag, or a watcher another scope."""

from collections.abc import Callable, Iterable

from services._chassis.permits import Permit
from services.policy.model.directory import Directory
from services.policy.model.requests import ElevationRequest

Visible = Callable[[ElevationRequest], bool]


class TagChanges:
    """Number the changes of devices' scope tags, once for all who watch."""

    def __init__(self, directory: Callable[[], Directory]) -> None:
        self.number = 0
        self._directory = directory
        self._before: Directory | None = None
        self._newest: dict[str, int] = {}
        """The newest change of each device, in the order of changes."""

    def hear(self, device_ids: Iterable[str] | None) -> None:
        """Look at the devices that the directory shows in another way now; None: at all."""
        before, now = self._before, self._directory()
        self._before = now
        if before is None:
            return
        changed = device_ids if device_ids is not None else now.devices.keys() | before.devices.keys()
        tagged = [each for each in changed if _tags(before, each) != _tags(now, each)]
        if tagged:
            self.number += 1
        for each in tagged:
            self._newest.pop(each, None)
            self._newest[each] = self.number

    def since(self, number: int) -> frozenset[str]:
        """Return the devices that have other tags since a change."""
        found: set[str] = set()
        for device_id, changed in reversed(self._newest.items()):
            if changed <= number:
                break
            found.add(device_id)
        return frozenset(found)


class Sight:
    """Remember what one watcher could see a moment ago."""

    def __init__(self, sees: Callable[[Permit], Visible], tags: TagChanges, permit: Permit) -> None:
        self._sees = sees
        self._tags = tags
        self._permit = permit
        self._number = tags.number
        self._visible = sees(permit)

    def look(self, permit: Permit) -> Visible | None:
        """Return what tells of a request that it came into sight since the last look; None: nothing can have."""
        before, number, widened = self._visible, self._number, permit != self._permit
        after = self._sees(permit)  # also where nothing changed: who held on to what was would keep a whole directory
        self._permit, self._number, self._visible = permit, self._tags.number, after
        if not widened and number == self._number:
            return None
        tagged = self._tags.since(number)

        def came(request: ElevationRequest) -> bool:
            return (widened or request.device_id in tagged) and after(request) and not before(request)

        return came


def _tags(directory: Directory, device_id: str) -> frozenset[str] | None:
    device = directory.devices.get(device_id)
    return None if device is None else device.scope_tags
