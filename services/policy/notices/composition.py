"""Put router and couriers together from the notices file."""

from collections.abc import Callable

from services._chassis.changes import ChangeFeed
from services._chassis.clock import Clock
from services._chassis.workers import Worker
from services.policy.model.directory import Directory
from services.policy.notices.addresses import Guard
from services.policy.notices.channels import Channel, NoticeSettings, Outbox
from services.policy.notices.couriers import Courier, Router
from services.policy.notices.mail import Mail
from services.policy.notices.webhook import Webhook


def channels_of(settings: NoticeSettings) -> list[Channel]:
    """Return the channels of the notices file."""
    guard = Guard(settings.allowed)
    channels: list[Channel] = [Webhook(webhook, guard, settings.review_link) for webhook in settings.webhooks]
    if settings.mail is not None:
        mail, link = settings.mail, settings.review_link
        channels += [Mail(recipient.channel, mail, guard, link) for recipient in settings.recipients]
    return channels


def notice_workers(
    settings: NoticeSettings,
    outbox: Outbox,
    directory: Callable[[], Directory],
    *,
    changes: ChangeFeed,
    clock: Clock,
    new_id: Callable[[], str],
) -> list[Worker]:
    """Return the workers that tell approvers; `directory` raises UnavailableError while it is not known."""

    def tags_of() -> Callable[[str], frozenset[str] | None]:
        devices = directory().devices

        def tags(device_id: str) -> frozenset[str] | None:
            found = devices.get(device_id)
            return None if found is None else found.scope_tags

        return tags

    router = Router(
        outbox,
        settings.interests,
        tags_of=tags_of,
        changes=changes,
        clock=clock,
        remind_after=settings.remind_after,
        send_again=settings.send_again,
    )
    interests = {interest.channel: interest for interest in settings.interests}
    couriers = [
        Courier(channel, outbox, interest=interests[channel.name], tags_of=tags_of, clock=clock, new_id=new_id)
        for channel in channels_of(settings)
    ]
    router.on_routed += [courier.wake for courier in couriers]
    return [router.worker(), *(courier.worker() for courier in couriers)]
