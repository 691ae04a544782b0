"""Keys over HTTPS, found by address or by discovery; whatever else comes back is no keys."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services._chassis.errors import UnavailableError
from services._chassis.jwks import LONGEST_KEY_SET, canonical_key_set
from services.rbac.clients import HttpsKeySource
from services.rbac.model.issuers import TrustedIssuer
from tests.builders.doors import authority
from tests.builders.issuer import key_set, public_rsa
from tests.fakes.https_server import HttpsServer, Reply, https_server

PUBLISHED = canonical_key_set(key_set())
DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[HttpsServer]:
    with https_server(tmp_path) as server:
        server.on("/keys", Reply(key_set().encode()))
        yield server


@pytest.fixture
def source(tmp_path: Path) -> HttpsKeySource:
    ca = tmp_path / "ca.crt"
    ca.write_bytes(authority().pem)
    return HttpsKeySource(ca)


def at(issuer: str, *, jwks_uri: str = "") -> TrustedIssuer:
    return TrustedIssuer(name="corp", issuer=issuer, audiences=("epm",), jwks_uri=jwks_uri)


async def refusal(source: HttpsKeySource, issuer: TrustedIssuer) -> str:
    with pytest.raises(UnavailableError) as raised:
        await source.key_set_of(issuer)
    return raised.value.message


async def test_keys_are_fetched_from_their_address(web: HttpsServer, source: HttpsKeySource) -> None:
    assert await source.key_set_of(at(web.address, jwks_uri=f"{web.address}/keys")) == PUBLISHED


@pytest.mark.parametrize("path", ["", "/", "/realms/corp", "/realms/corp/"])
async def test_keys_are_found_by_discovery(web: HttpsServer, source: HttpsKeySource, path: str) -> None:
    issuer = web.address + path
    web.on(path.rstrip("/") + DISCOVERY, {"issuer": issuer, "jwks_uri": f"{web.address}/keys"})
    assert await source.key_set_of(at(issuer)) == PUBLISHED


async def test_a_document_of_another_issuer_is_no_discovery(web: HttpsServer, source: HttpsKeySource) -> None:
    web.on(DISCOVERY, {"issuer": "https://evil.example.com", "jwks_uri": f"{web.address}/keys"})
    assert "speaks for another issuer: 'https://evil.example.com'" in await refusal(source, at(web.address))
    assert [path for path, _ in web.asked] == [DISCOVERY]


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/keys", "file:///etc/passwd", "ftp://127.0.0.1/keys", ""])
async def test_discovery_leads_to_https_alone(web: HttpsServer, source: HttpsKeySource, address: str) -> None:
    web.on(DISCOVERY, {"issuer": web.address, "jwks_uri": address})
    assert "is no https address" in await refusal(source, at(web.address))


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/keys", "file:///etc/passwd"])
async def test_a_redirect_leads_to_https_alone(web: HttpsServer, source: HttpsKeySource, target: str) -> None:
    web.on("/moved", Reply(status=302, headers={"Location": target}))
    said = await refusal(source, at(web.address, jwks_uri=f"{web.address}/moved"))
    assert target in said


async def test_a_redirect_to_https_is_followed(web: HttpsServer, source: HttpsKeySource) -> None:
    web.on("/moved", Reply(status=302, headers={"Location": f"{web.address}/keys"}))
    assert await source.key_set_of(at(web.address, jwks_uri=f"{web.address}/moved")) == PUBLISHED


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(status=500), "HTTP Error 500"),
        (Reply(status=404), "HTTP Error 404"),
        (Reply(b"<html>"), "could not be fetched"),
        (Reply(b"\xff\xfe"), "could not be fetched"),
        (Reply(b'{"keys": []}'), "holds no public key"),
        (Reply(key_set(public_rsa() | {"d": "AQAB"}).encode()), "holds a private or a secret key"),
        (Reply(b" " * (LONGEST_KEY_SET + 1)), f"its answer is longer than {LONGEST_KEY_SET} bytes"),
        (Reply(status=302), "HTTP Error 302"),
    ],
)
async def test_an_answer_that_is_no_key_set_is_refused(
    web: HttpsServer, source: HttpsKeySource, reply: Reply, said: str
) -> None:
    web.on("/keys", reply)
    assert said in await refusal(source, at(web.address, jwks_uri=f"{web.address}/keys"))


async def test_a_provider_with_a_certificate_of_another_ca_is_not_asked(web: HttpsServer) -> None:
    said = await refusal(HttpsKeySource(None), at(web.address, jwks_uri=f"{web.address}/keys"))
    assert "certificate verify failed" in said.lower()
    assert web.asked == []


async def test_a_provider_that_is_down_is_said(source: HttpsKeySource) -> None:
    assert "https://127.0.0.1:1/keys could not be fetched" in await refusal(
        source, at("https://127.0.0.1:1", jwks_uri="https://127.0.0.1:1/keys")
    )


async def test_a_ca_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert "could not be fetched" in await refusal(HttpsKeySource(tmp_path / "none"), at("https://127.0.0.1:1"))
