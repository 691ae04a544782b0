"""Calls to other services: one way to open a channel, and one way to translate what goes wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import grpc.aio

from services._chassis.config import CertificateFiles
from services._chassis.errors import UnavailableError

DEADLINE = 10.0
"""Seconds that a unary call to another service may take."""

MESSAGE_LIMIT = 4 * 1024 * 1024
"""Bytes that anybody may send us in one message."""

SNAPSHOT_LIMIT = 64 * 1024 * 1024
"""Bytes that one service may tell another at once: the access snapshot is one message, and without it nobody gets in."""

_OPTIONS = (
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", SNAPSHOT_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 10_000),
)


def open_channel(address: str, *, ca: Path, identity: CertificateFiles) -> grpc.aio.Channel:
    """Open a channel to another service over mutual TLS; the roots are the installation's CA and nothing else."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=ca.read_bytes(),
        private_key=identity.key.read_bytes(),
        certificate_chain=identity.certificate.read_bytes(),
    )
    return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)


@contextmanager
def calling(service: str) -> Iterator[None]:
    """Turn the failure of a call to `service` into UnavailableError, which names the service and the status."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        status = error.code().name
        raise UnavailableError(
            f"the {service} service did not answer ({status}: {error.details()}); try again later",
            reason="PEER_UNAVAILABLE",
        ) from error
