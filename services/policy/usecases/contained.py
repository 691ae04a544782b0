"""Contain surprises.

What goes wrong with one device is told of that device alone, and never stops the others; what goes wrong after a change was
committed does not make it look refused.

What is known to be raised is named, and answered on its own: a database that is away, lint that takes too long. `Exception` is the
rest, which is a bug, met in one turn of a supervised loop: over the devices whose documents are made, over the group that the
writer of deliveries commits, or behind a commit. The loop goes on, and the log has the traceback.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar

from services._chassis.errors import LimitError, UnavailableError
from services._chassis.logging import get_logger
from services.policy.model.delivery import Delivery
from services.policy.ports import DeliveryStep

Change: TypeAlias = Callable[[Sequence[tuple[str, DeliveryStep]]], Awaitable[Sequence[Delivery]]]
Made = TypeVar("Made")

log = get_logger("policy.contained")


async def change_each(change: Change, steps: Sequence[tuple[str, DeliveryStep]]) -> Sequence[Delivery | Exception]:
    """Take the steps together, or one by one where they fail together; return what each led to, or why it was not kept."""
    try:
        return await change(steps)
    except UnavailableError as error:
        return [error] * len(steps)
    except Exception as error:  # noqa: BLE001 - nobody knows which step it was: only that one may be refused for it
        if len(steps) == 1:
            _tell(steps[0][0], error)
            return [error]
    return [answer for step in steps for answer in await change_each(change, [step])]


def made_for(device_id: str, make: Callable[[], Made]) -> Made | None:
    """Return what is made for a device; None where that cannot be made."""
    try:
        return make()
    except UnavailableError:
        return None
    except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this device alone
        _tell(device_id, error)
        return None


async def untold_if_it_fails(tell: Callable[[], Awaitable[Made]], untold: Made) -> Made:
    """Return what is told of a change that is committed, or the answer without it where that cannot be found out."""
    try:
        return await tell()
    except LimitError as error:
        log.warning("findings_not_told", reason=error.reason)
        return untold
    except Exception:
        log.exception("findings_not_told")
        return untold


def _tell(device_id: str, error: Exception) -> None:
    log.error("device_passed_over", device_id=device_id, exc_info=error)
