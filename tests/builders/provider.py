"""A real OpenID Connect provider as a process of its own, and somebody with a browser."""

import html.parser
import http.cookiejar
import json
import os
import shutil
import ssl
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from tests.builders.doors import authority, server_identity

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / ".venv" / "provider" / "node_modules"
PROGRAM = ROOT / "tests" / "provider" / "provider.mjs"
PATIENCE = 30.0


def new_key(kid: str, algorithm: str = "RS256") -> dict[str, Any]:
    """Make a private key of a provider."""
    key = RSAKey.generate_key(2048) if algorithm == "RS256" else ECKey.generate_key("P-256")
    return {**key.as_dict(private=True), "kid": kid, "alg": algorithm, "use": "sig"}


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider that runs."""

    issuer: str
    folder: Path
    process: subprocess.Popen[str]

    def rotate(self, *keys: Mapping[str, Any]) -> None:
        """Sign with the first of these keys from now on, and publish them and no others."""
        self.publish(self.folder, *keys)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("rotate\n")
        self.process.stdin.flush()
        assert "rotated\n" in iter(self.process.stdout.readline, "")

    @staticmethod
    def publish(folder: Path, *keys: Mapping[str, Any]) -> None:
        """Write the keys down where the provider reads them."""
        (folder / "keys.json").write_text(json.dumps({"keys": list(keys)}))


@contextmanager
def provider(folder: Path, *keys: Mapping[str, Any], token_seconds: int = 300) -> Iterator[Provider]:
    """Run a provider that signs with the first of these keys; skip the test where it cannot be had."""
    node = shutil.which("node")
    if node is None or not MODULES.exists():
        pytest.skip("needs node, npm and what `make test` installs with them: the identity provider `oidc-provider`")
    folder.mkdir()
    Provider.publish(folder, *keys)
    (folder / "tls.crt").write_bytes(server_identity().certificate)
    (folder / "tls.key").write_bytes(server_identity().key)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [node, str(PROGRAM), str(folder), str(MODULES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | {"TOKEN_SECONDS": str(token_seconds)},
        )
    try:
        assert process.stdout is not None
        address = next((line for line in iter(process.stdout.readline, "") if line.startswith("issuer ")), "")
        assert address, (folder / "log").read_text()
        yield Provider(address.split()[1], folder, process)
    finally:
        process.communicate(timeout=PATIENCE)  # the end of its input ends it


class Browser:
    """Somebody who logs in at a provider: follows pages, fills in forms, keeps cookies."""

    def __init__(self) -> None:
        context = ssl.create_default_context(cadata=authority().pem.decode())
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=context),
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
        )

    def confirm(self, address: str, user: str, *, deny: bool = False) -> str:
        """Open the address of a device code, log in as the user, and consent or not; return the last page."""
        page, text = self._open(address)
        for _ in range(6):
            form = _Form(text)
            if not form.action:
                break
            fields = dict(form.fields)
            if "login" in form.names:
                fields |= {"login": user, "password": "any"}
            if deny and "user_code" in fields and "xsrf" in fields and "confirm" in fields:
                fields["abort"] = "yes"
            page, text = self._open(urllib.parse.urljoin(page, form.action), fields)
        return text

    def _open(self, address: str, fields: Mapping[str, str] | None = None) -> tuple[str, str]:
        data = urllib.parse.urlencode(fields).encode() if fields is not None else None
        with self._opener.open(address, data, timeout=PATIENCE) as answer:
            return answer.geturl(), answer.read().decode()


class _Form(html.parser.HTMLParser):
    """The first form of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.names: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and not self.action:
            self.action = given.get("action", "")
        if tag == "input" and given.get("name"):
            self.names.add(given["name"])
            self.fields[given["name"]] = given.get("value", "")
