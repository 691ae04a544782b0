"""Signatures of webhooks, as Standard Webhooks has them: HMAC-SHA256 over identifier, timestamp and body."""

import base64
import binascii
import hashlib
import hmac

PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)


def read_secret(text: str) -> bytes:
    """Return the bytes of a secret. Raises ValueError that does not repeat it."""
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not text.startswith(PREFIX) or len(secret) not in SECRET_BYTES:
        raise ValueError(f"must hold {PREFIX} and 24 to 64 random bytes in Base64")
    return secret


def sign(secret: bytes, notice_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of the header `webhook-signature`."""
    signed = f"{notice_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode("ascii")
