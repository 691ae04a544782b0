"""What became of devices."""

from epm.device.v1 import devices_pb2
from services._chassis.times import time_to_proto
from services.device.model.history import HistoryEntry, HistoryKind

KINDS = {
    HistoryKind.ENROLMENT: devices_pb2.DEVICE_HISTORY_KIND_ENROLMENT,
    HistoryKind.EPM_STATE: devices_pb2.DEVICE_HISTORY_KIND_EPM_STATE,
    HistoryKind.CERTIFICATE: devices_pb2.DEVICE_HISTORY_KIND_CERTIFICATE,
    HistoryKind.SUSPECTED_CLONE: devices_pb2.DEVICE_HISTORY_KIND_SUSPECTED_CLONE,
}


def entry_to_proto(entry: HistoryEntry) -> devices_pb2.DeviceHistoryEntry:
    """Write an entry; whose it is, the question has said."""
    return devices_pb2.DeviceHistoryEntry(
        time=time_to_proto(entry.at),
        kind=KINDS[entry.kind],
        before=entry.before,
        after=entry.after,
        reason=entry.reason,
        actor=entry.actor,
    )
