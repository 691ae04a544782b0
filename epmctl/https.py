"""Talk HTTPS to an identity provider: a document or a form, JSON back, no redirects, and nothing without limits."""

import http.client
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from epmctl.errors import CommandError

DEADLINE: Final = 15.0
"""Seconds that a provider may say nothing."""
MAX_ANSWER: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, and the names of the JSON object; none where it was no object."""

    status: int
    body: Mapping[str, object]

    @property
    def good(self) -> bool:
        """Tell whether the provider did what it was asked."""
        return self.status == http.client.OK

    def text(self, key: str) -> str:
        """Give the text under a name; empty where there is none."""
        value = self.body.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str, default: float) -> float:
        """Give the number under a name, never less than zero."""
        value = self.body.get(key)
        return max(0.0, value) if isinstance(value, int | float) and not isinstance(value, bool) else default


class UnreachableError(CommandError):
    """The provider did not answer."""


def ask(address: str, ca: str, form: Mapping[str, str] | None = None) -> Answer:
    """Get what is at an address, or post a form to it; `ca` is PEM text, "" for the CAs of the system."""
    host = urllib.parse.urlsplit(address)
    if host.scheme != "https" or not host.hostname:
        raise CommandError(f"the identity provider names {address!r}, which is no https address")
    data = None if form is None else urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(address, data, {"Accept": "application/json", "User-Agent": "epm"})  # noqa: S310 - https, as was checked
    opener = urllib.request.OpenerDirector()  # knows HTTPS alone, follows nothing and hands every status over
    opener.add_handler(urllib.request.ProxyHandler())
    opener.add_handler(urllib.request.HTTPSHandler(context=ssl.create_default_context(cadata=ca or None)))
    try:
        with opener.open(request, timeout=DEADLINE) as response:
            status, text = response.status, response.read(MAX_ANSWER)
    except urllib.error.URLError as error:
        raise UnreachableError(f"the identity provider at {host.netloc} {_explain(error.reason)}") from None
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"the identity provider at {host.netloc} {_explain(error)}") from None
    return Answer(status, _object(text))


def _object(text: bytes) -> Mapping[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _explain(error: object) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"shows a certificate that is not trusted: {error.verify_message}; give its CA with --issuer-ca"
            " if it is your organisation's own"
        )
    if isinstance(error, TimeoutError):
        return "did not answer in time; is it up and is the address right?"
    if isinstance(error, ConnectionRefusedError):
        return "refuses connections; is it up and is the address right?"
    return f"cannot be reached: {error}"
