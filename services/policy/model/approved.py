"""What is approved, by the devices where it is: a change of one request is no work over all that stand."""

from collections.abc import Mapping, Sequence

from services.policy.model.requests import ElevationRequest


def moved_by_device(
    before: Sequence[ElevationRequest],
    after: Sequence[ElevationRequest],
    by_device: Mapping[str, tuple[ElevationRequest, ...]],
) -> Mapping[str, tuple[ElevationRequest, ...]]:
    """Say what each device that a change may touch has after it; both are sorted by identifier, and most of them stand."""
    shortest = min(len(before), len(after))
    begin = next((n for n in range(shortest) if before[n] is not after[n]), shortest)
    end = next((n for n in range(shortest - begin) if before[-n - 1] is not after[-n - 1]), shortest - begin)
    left, come = before[begin : len(before) - end], after[begin : len(after) - end]
    found: dict[str, dict[str, ElevationRequest]] = {}
    for request in (*left, *come):
        if request.device_id not in found:
            found[request.device_id] = {each.request_id: each for each in by_device.get(request.device_id, ())}
    for request in left:
        found[request.device_id].pop(request.request_id, None)
    for request in come:
        found[request.device_id][request.request_id] = request
    return {device_id: tuple(of[name] for name in sorted(of)) for device_id, of in found.items()}
