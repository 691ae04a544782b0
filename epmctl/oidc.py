"""Log in at an identity provider by device code (RFC 8628), and stay logged in by refresh tokens.

The tokens are the server's to verify. Here they are only looked into: for whom they are and when they end.
"""

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from epmctl.errors import CommandError
from epmctl.https import Answer, UnreachableError, ask
from epmctl.profile import Identity

EARLY: Final = timedelta(seconds=60)
"""How long before its end a token is renewed."""
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
SCOPE: Final = "openid profile email offline_access"

_DISCOVERY: Final = "/.well-known/openid-configuration"
_INTERVAL: Final = 5.0
_LIFETIME: Final = 600.0
_LOGIN_AGAIN: Final = "run epm login --oidc again"

Pause = Callable[[float], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What a person has to do in a browser, and what this program shows in the meantime."""

    address: str
    code: str
    complete_address: str
    device_code: str
    lifetime: float
    interval: float


@dataclass(frozen=True, slots=True)
class Login:
    """A token for the server, and what it takes to get the next one."""

    token: str
    identity: Identity


def begin(identity: Identity) -> tuple[Identity, Invitation]:
    """Ask the provider for a code; give the identity with the provider's addresses filled in."""
    said = ask(identity.issuer.rstrip("/") + _DISCOVERY, identity.ca)
    if not said.good or said.text("issuer") != identity.issuer:
        raise CommandError(f"{identity.issuer} is no OpenID Connect provider: {_DISCOVERY} does not name it")
    endpoint = said.text("device_authorization_endpoint")
    if not endpoint:
        raise CommandError(f"{identity.issuer} offers no login by device code; log in with a token (--token-file)")
    identity = replace(identity, token_endpoint=said.text("token_endpoint"))
    answer = ask(endpoint, identity.ca, {"client_id": identity.client_id, "scope": SCOPE, **_audience(identity)})
    address = answer.text("verification_uri") or answer.text("verification_url")
    if not (answer.good and answer.text("device_code") and answer.text("user_code") and address):
        raise CommandError(f"{identity.issuer} gives no code to {identity.client_id!r}: {_reason(answer)}")
    return identity, Invitation(
        address=address,
        code=answer.text("user_code"),
        complete_address=answer.text("verification_uri_complete"),
        device_code=answer.text("device_code"),
        lifetime=answer.number("expires_in", _LIFETIME),
        interval=answer.number("interval", _INTERVAL),
    )


def finish(identity: Identity, invitation: Invitation, pause: Pause | None = None) -> Login:
    """Wait until a person has confirmed the code; raise CommandError where that is denied or comes to nothing."""
    wait = pause or threading.Event().wait
    form = {"grant_type": DEVICE_GRANT, "device_code": invitation.device_code, "client_id": identity.client_id}
    interval, waited = invitation.interval, 0.0
    while waited <= invitation.lifetime:
        wait(interval)
        waited += max(interval, 1.0)
        try:
            answer = ask(identity.token_endpoint, identity.ca, form)
        except UnreachableError:
            interval = max(interval, 1.0) * 2
            continue
        if answer.good:
            return _login(identity, answer)
        error = answer.text("error")
        if error == "slow_down":
            interval += _INTERVAL
        elif error == "access_denied":
            raise CommandError(f"the login was denied at {identity.issuer}")
        elif error == "expired_token":
            break
        elif error != "authorization_pending":
            raise CommandError(f"{identity.issuer} refuses the login: {_reason(answer)}")
    raise CommandError(f"nobody confirmed the code at {identity.issuer} in time; {_LOGIN_AGAIN}")


def renew(token: str, identity: Identity, now: datetime) -> Login | None:
    """Give a fresh token where this one is about to end; None where it is good for now.

    A provider that cannot be reached, or no way to renew, is said once the token has ended.
    """
    ends = _ends(token)
    if ends is None or now.timestamp() < ends - EARLY.total_seconds():
        return None
    over = now.timestamp() >= ends
    ended = CommandError(f"the login at {identity.issuer} has ended; {_LOGIN_AGAIN}")
    if not identity.refresh_token:
        if over:
            raise ended
        return None
    form = {
        "grant_type": "refresh_token",
        "refresh_token": identity.refresh_token,
        "client_id": identity.client_id,
        **_audience(identity),
    }
    try:
        answer = ask(identity.token_endpoint, identity.ca, form)
    except UnreachableError:
        if over:
            raise
        return None
    if not answer.good:
        raise ended
    return _login(identity, answer)


def _login(identity: Identity, answer: Answer) -> Login:
    """Take the token that the server will believe: the one of this issuer and for its audience."""
    for name in ("access_token", "id_token"):
        token = answer.text(name)
        claims = _claims(token)
        if claims.get("iss") == identity.issuer and identity.audience in _listed(claims.get("aud")):
            return Login(token, replace(identity, refresh_token=answer.text("refresh_token") or identity.refresh_token))
    raise CommandError(
        f"{identity.issuer} gave no signed token for the audience {identity.audience!r};"
        f" let it issue such tokens to {identity.client_id!r}, or change the audiences of the trusted issuer"
    )


def _audience(identity: Identity) -> Mapping[str, str]:
    """Say for whom the token shall be, in the words of the standard and in those of older providers.

    An ID token is for the client; that needs no saying.
    """
    if identity.audience == identity.client_id:
        return {}
    resource = {"resource": identity.audience} if "://" in identity.audience else {}
    return {"audience": identity.audience, **resource}


def _ends(token: str) -> float | None:
    ends = _claims(token).get("exp")
    return float(ends) if isinstance(ends, int | float) else None


def _claims(token: str) -> Mapping[str, object]:
    """Read what a token claims; empty for one that is no JSON Web Token."""
    parts = token.split(".")
    try:
        value = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
    except (IndexError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _listed(value: object) -> Iterator[object]:
    yield from value if isinstance(value, list) else [value]


def _reason(answer: Answer) -> str:
    return answer.text("error_description") or answer.text("error") or f"HTTP status {answer.status}"
