"""Identity providers on the network: their keys, over HTTPS and nothing else."""

import asyncio
import http.client
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services._chassis.errors import UnavailableError
from services._chassis.jwks import LONGEST_KEY_SET, canonical_key_set
from services._chassis.strictjson import read_object
from services.rbac.model.issuers import TrustedIssuer

SILENCE = 10.0
"""Seconds that a provider may say nothing."""
PATIENCE = 20.0
"""Seconds that it may take altogether."""


class HttpsKeySource:
    """Fetch key sets; providers are known by the CAs of the system, or by those of a file."""

    def __init__(self, ca_file: Path | None) -> None:
        self._ca_file = ca_file

    async def key_set_of(self, issuer: TrustedIssuer) -> str:
        """Return the key set at the issuer's address, or at the one that it names by discovery."""
        try:
            return await self._key_set_of(issuer)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UnavailableError(f"the keys at {issuer.key_source} could not be fetched: {_said(error)}") from error

    async def _key_set_of(self, issuer: TrustedIssuer) -> str:
        address = issuer.jwks_uri
        if not address:
            said = read_object(await self._get(issuer.key_source))
            if said.get("issuer") != issuer.issuer:
                raise ValueError(f"it speaks for another issuer: {said.get('issuer')!r}")
            address = str(said.get("jwks_uri", ""))
        return canonical_key_set((await self._get(address)).decode("utf-8"))

    async def _get(self, address: str) -> bytes:
        """Read what is at an address, in a thread of its own, which may be left behind."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()

        def fetch() -> None:
            tell: Callable[[Any], None] = answer.set_result
            try:
                found: bytes | Exception = _read(address, self._ca_file)
            except Exception as error:  # noqa: BLE001 - whatever it is, the one who waits hears of it
                tell, found = answer.set_exception, error
            loop.call_soon_threadsafe(lambda: None if answer.done() else tell(found))

        threading.Thread(target=fetch, name="fetch_issuer_keys", daemon=True).start()
        async with asyncio.timeout(PATIENCE):
            return await answer


def _said(error: Exception) -> str:
    return "it did not answer in time" if isinstance(error, TimeoutError) else str(error)


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to HTTPS alone."""

    def redirect_request(self, req: urllib.request.Request, *answer: Any) -> urllib.request.Request | None:
        """Return the request to make instead; the last thing that came with the answer is its address."""
        if urllib.parse.urlsplit(answer[-1]).scheme != "https":
            answer[0].close()
            raise urllib.error.URLError(f"it leads away from HTTPS, to {answer[-1]!r}")
        return super().redirect_request(req, *answer)


def _read(address: str, ca_file: Path | None) -> bytes:
    if urllib.parse.urlsplit(address).scheme != "https":
        raise ValueError(f"{address!r} is no https address")
    context = ssl.create_default_context(cafile=ca_file)
    opener = urllib.request.OpenerDirector()  # knows HTTPS alone: no files, no plain HTTP
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _HttpsRedirects(),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(address, headers={"Accept": "application/json", "User-Agent": "openepm"})  # noqa: S310 - https, as was checked
    try:
        with opener.open(request, timeout=SILENCE) as response:
            data: bytes = response.read(LONGEST_KEY_SET + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise
    if len(data) > LONGEST_KEY_SET:
        raise ValueError(f"its answer is longer than {LONGEST_KEY_SET} bytes")
    return data
