"""Meet a server for the first time: find, in the chain it shows, the authority that the enrolment token names.

Nothing is believed here but the token's fingerprint. The chain is read without verification and nothing is said over that
connection; whoever then enrols opens another one, which trusts the authority that was found and nothing else.
"""

import base64
import binascii
import hashlib
import ipaddress
import select
import socket
import time
from contextlib import suppress

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from agent_stub.keys import certificates

FINGERPRINT_SEPARATOR = "."
_FINGERPRINT_BYTES = 32


class FirstContactError(Exception):
    """The server's authority is not known; the message says why and what to do."""


def fingerprint_of(token: str) -> bytes | None:
    """Read the SHA-256 of the CA certificate out of a token; None where it names none. Raise FirstContactError."""
    _, separator, text = token.partition(FINGERPRINT_SEPARATOR)
    if not separator:
        return None
    with suppress(ValueError, binascii.Error):
        found = base64.b64decode(text + "=", altchars=b"-_", validate=True)
        if len(found) == _FINGERPRINT_BYTES and _text(found) == text:
            return found
    raise FirstContactError(
        "the CA's fingerprint at the end of the enrolment token is malformed; copy the token whole, or ask for a new one"
    )


def find_authority(server: str, fingerprint: bytes, *, deadline_seconds: float) -> bytes:
    """Give the certificate (PEM) that a fingerprint is of, as the server shows it; raise FirstContactError."""
    for certificate in _shown_chain(server, deadline_seconds):
        der = certificate.public_bytes(serialization.Encoding.DER)
        if hashlib.sha256(der).digest() == fingerprint:
            if not _signs_certificates(certificate):
                raise FirstContactError(
                    "what the enrolment token names is no certificate of a CA; ask for a token of the installation"
                )
            return certificate.public_bytes(serialization.Encoding.PEM)
    raise FirstContactError(
        f"the server {server} does not show the CA that the enrolment token names: who answers there is not the "
        "installation, or does not show its CA; check --server, or give the CA's certificate by --ca"
    )


def holds(authorities: bytes, fingerprint: bytes) -> bool:
    """Tell whether the certificate of a fingerprint is among certificates (PEM)."""
    found = certificates(authorities)
    return any(hashlib.sha256(one.public_bytes(serialization.Encoding.DER)).digest() == fingerprint for one in found)


def _text(fingerprint: bytes) -> str:
    return base64.urlsafe_b64encode(fingerprint).decode("ascii").rstrip("=")


def _signs_certificates(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return constraints.ca
    return constraints.ca and usage.key_cert_sign


def _shown_chain(server: str, deadline_seconds: float) -> list[x509.Certificate]:
    host, _, port = server.rpartition(":")
    host = host.strip("[]")
    deadline = time.monotonic() + deadline_seconds
    try:
        with socket.create_connection((host, int(port)), timeout=deadline_seconds) as plain:
            return _handshake(plain, host, deadline)
    except SSL.Error as error:
        raise FirstContactError(f"the server {server} does not speak TLS as ours do; check --server") from error
    except (OSError, OverflowError, UnicodeError) as error:
        raise FirstContactError(
            f"the server {server} cannot be reached ({_words(error)}); check --server, and that the server runs"
        ) from error
    except (ValueError, x509.InvalidVersion) as error:
        raise FirstContactError(f"the server {server} shows a certificate that cannot be read") from error


def _handshake(plain: socket.socket, host: str, deadline: float) -> list[x509.Certificate]:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    # Unverified on purpose: only the certificate of the token's fingerprint is taken from it, and nothing is sent.
    context.set_verify(SSL.VERIFY_NONE)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_alpn_protos([b"h2"])
    connection = SSL.Connection(context, plain)
    if _is_name(host):
        connection.set_tlsext_host_name(host.encode("idna"))
    connection.set_connect_state()
    _shake_hands(connection, plain, deadline)
    return connection.get_peer_cert_chain(as_cryptography=True) or []


def _shake_hands(connection: SSL.Connection, plain: socket.socket, deadline: float) -> None:
    """Go on as the socket lets; a socket with a timeout does not block below TLS."""
    while True:
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            waits_for: tuple[list[socket.socket], list[socket.socket]] = ([plain], [])
        except SSL.WantWriteError:
            waits_for = ([], [plain])
        else:
            return
        left = deadline - time.monotonic()
        if left <= 0 or not any(select.select(*waits_for, [], left)):
            raise TimeoutError("no answer in time")


def _is_name(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def _words(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
