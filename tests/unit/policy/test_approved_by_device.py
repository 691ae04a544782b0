"""What is approved on a device follows every change, and devices that none touches are not looked at."""

from dataclasses import replace
from random import Random

from services.policy.model.approved import moved_by_device
from services.policy.model.requests import ElevationRequest
from tests.builders.requests import request


def on(number: int, device_id: str, reason: str = "for work") -> ElevationRequest:
    return replace(request(number), device_id=device_id, justification=reason)


def test_only_devices_that_a_change_touches_are_looked_at() -> None:
    first, second, third = on(1, "d1"), on(2, "d2"), on(3, "d3")
    standing = {"d1": (first,), "d3": (third,)}
    assert moved_by_device((first, third), (first, second, third), standing) == {"d2": (second,)}
    assert moved_by_device((first, third), (first,), standing) == {"d3": ()}
    assert moved_by_device((first, third), (first, third), standing) == {}


def test_whatever_changes_at_once_the_devices_have_what_stands() -> None:
    chance = Random(7)  # noqa: S311 - chance that is the same every time
    before: tuple[ElevationRequest, ...] = ()
    by_device: dict[str, tuple[ElevationRequest, ...]] = {}
    for turn in range(200):
        kept = [each for each in before if chance.random() < 0.9]
        moved = [replace(each, justification=str(turn)) if chance.random() < 0.1 else each for each in kept]
        there = {each.request_id for each in moved}
        made = [on(number, f"d{number % 5}") for number in {chance.randrange(40) for _ in range(3)}]
        new = [each for each in made if each.request_id not in there]
        after = tuple(sorted((*moved, *new), key=lambda each: each.request_id))
        by_device |= moved_by_device(before, after, by_device)
        for device_id in {each.device_id for each in (*before, *after)}:
            assert by_device.get(device_id, ()) == tuple(each for each in after if each.device_id == device_id)
        before = after
