"""Messages to approvers that were not delivered, model to proto."""

from epm.policy.v1 import requests_pb2
from services.policy.model.notices import Undelivered


def undelivered_to_proto(message: Undelivered) -> requests_pb2.UndeliveredNotice:
    """Encode a message."""
    notice = message.notice
    encoded = requests_pb2.UndeliveredNotice(
        id=message.id,
        event=notice.event.value,
        channel=message.channel,
        request_id=notice.request.request_id,
        device_name=notice.request.device_name,
        tries=message.tries,
        error=message.error,
    )
    if message.given_up is None:
        encoded.due.FromDatetime(message.due)
    else:
        encoded.given_up.FromDatetime(message.given_up)
    return encoded
