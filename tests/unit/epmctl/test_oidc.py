"""`epm login --oidc`: a code for a browser, a token for the server, and a fresh one before it ends."""

import json
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from epm.rbac.v1 import rbac_pb2
from epmctl import oidc
from epmctl.client import with_fresh_token
from epmctl.errors import CommandError
from epmctl.profile import Identity, Profile, find_profile, save_profile
from tests.builders.console import Console, Outcome
from tests.builders.doors import authority
from tests.builders.issuer import claims, token
from tests.fakes.clock import NOW
from tests.fakes.https_server import HttpsServer, Reply, https_server
from tests.fakes.server import FakeServer

DISCOVERY = "/.well-known/openid-configuration"
CODE = {
    "device_code": "secret-device-code",
    "user_code": "ABCD-EFGH",
    "verification_uri": "https://id.example.com/device",
    "expires_in": 60,
    "interval": 0,
}
WAITING = Reply(b'{"error": "authorization_pending"}', status=400)
REFRESH = {"grant_type": "refresh_token", "refresh_token": "r1", "client_id": "epm-cli"}


def refused(error: str, **more: str) -> Reply:
    return Reply(json.dumps({"error": error, **more}).encode(), status=400)


def signed(web: HttpsServer, now: datetime = NOW, **changes: Any) -> str:
    return token(claims(now, **{"iss": web.address, "aud": "epm-cli", **changes}))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[HttpsServer]:
    with https_server(tmp_path) as server:
        server.on(
            DISCOVERY,
            {
                "issuer": server.address,
                "token_endpoint": f"{server.address}/token",
                "device_authorization_endpoint": f"{server.address}/code",
            },
        )
        server.on("/code", CODE)
        server.on("/token", {"id_token": signed(server), "access_token": "opaque", "refresh_token": "r1"})
        yield server


@pytest.fixture
def identity(web: HttpsServer) -> Identity:
    return Identity(issuer=web.address, client_id="epm-cli", audience="epm-cli", ca=authority().pem.decode())


def log_in(identity: Identity) -> tuple[oidc.Login, list[float]]:
    """Log in, and give how long was waited each time."""
    waited: list[float] = []
    known, invitation = oidc.begin(identity)
    return oidc.finish(known, invitation, waited.append), waited


def failure(identity: Identity) -> str:
    with pytest.raises(CommandError) as raised:
        log_in(identity)
    return "\n".join(raised.value.lines)


def test_a_confirmed_code_becomes_a_token_for_the_server(web: HttpsServer, identity: Identity) -> None:
    login, _ = log_in(identity)
    assert login.token == signed(web)
    assert (login.identity.refresh_token, login.identity.token_endpoint) == ("r1", f"{web.address}/token")
    assert web.forms("/code") == [{"client_id": "epm-cli", "scope": "openid profile email offline_access"}]
    (asked,) = web.forms("/token")
    assert asked == {"grant_type": oidc.DEVICE_GRANT, "device_code": "secret-device-code", "client_id": "epm-cli"}


def test_another_audience_is_asked_for_and_the_access_token_for_it_taken(web: HttpsServer, identity: Identity) -> None:
    api = "https://epm.example.com/api"
    access = signed(web, aud=["other", api])
    web.on("/token", {"id_token": signed(web), "access_token": access})
    login, _ = log_in(replace(identity, audience=api))
    assert login.token == access
    (asked,) = web.forms("/code")
    assert (asked["audience"], asked["resource"]) == (api, api)


def test_the_provider_is_asked_again_at_its_interval_and_slower_when_it_says_so(
    web: HttpsServer, identity: Identity
) -> None:
    web.on("/code", CODE | {"interval": 2})
    web.on("/token", WAITING, WAITING, refused("slow_down"), WAITING, {"id_token": signed(web)})
    assert log_in(identity)[1] == [2, 2, 2, 7, 7]


def test_without_an_interval_five_seconds_are_waited(web: HttpsServer, identity: Identity) -> None:
    web.on("/code", {key: value for key, value in CODE.items() if key != "interval"})
    assert log_in(identity)[1] == [5]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (refused("access_denied"), "the login was denied at ISSUER"),
        (refused("expired_token"), "nobody confirmed the code at ISSUER in time; run epm login --oidc again"),
        (WAITING, "nobody confirmed the code at ISSUER in time; run epm login --oidc again"),
        (refused("invalid_client", error_description="who?"), "ISSUER refuses the login: who?"),
        (Reply(b"<html>", status=502), "ISSUER refuses the login: HTTP status 502"),
        (Reply(b'{"id_token": "opaque"}'), "ISSUER gave no signed token for the audience 'epm-cli'"),
        (Reply(status=302, headers={"Location": "https://elsewhere"}), "ISSUER refuses the login: HTTP status 302"),
    ],
)
def test_a_login_that_comes_to_nothing_says_why(web: HttpsServer, identity: Identity, reply: Reply, said: str) -> None:
    web.on("/token", reply)
    assert said.replace("ISSUER", web.address) in failure(identity)


@pytest.mark.parametrize("wrong", [{"aud": "other"}, {"iss": "https://other"}, {"aud": None}])
def test_a_token_for_somebody_else_is_not_kept(web: HttpsServer, identity: Identity, wrong: dict[str, Any]) -> None:
    web.on("/token", {"id_token": signed(web, **wrong), "access_token": "a.b.c"})
    assert "gave no signed token for the audience 'epm-cli'" in failure(identity)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"issuer": "https://evil.example.com"}, "ISSUER is no OpenID Connect provider"),
        ({"device_authorization_endpoint": None}, "ISSUER offers no login by device code; log in with a token"),
        ({"device_authorization_endpoint": "http://127.0.0.1:1/"}, "'http://127.0.0.1:1/', which is no https address"),
    ],
)
def test_a_provider_that_is_none_is_said(
    web: HttpsServer, identity: Identity, changes: dict[str, Any], said: str
) -> None:
    found = json.loads(web.replies[DISCOVERY][0].body) | changes
    web.on(DISCOVERY, found)
    assert said.replace("ISSUER", web.address) in failure(identity)


def test_a_client_that_the_provider_does_not_know_is_said(web: HttpsServer, identity: Identity) -> None:
    web.on("/code", refused("invalid_client", error_description="client is unknown"))
    assert failure(identity) == f"{web.address} gives no code to 'epm-cli': client is unknown"


def test_a_provider_whose_ca_is_not_known_is_said_with_the_remedy(identity: Identity) -> None:
    assert "shows a certificate that is not trusted" in failure(replace(identity, ca=""))


def test_a_provider_that_is_down_is_said(identity: Identity) -> None:
    assert failure(replace(identity, issuer="https://127.0.0.1:1")) == (
        "the identity provider at 127.0.0.1:1 refuses connections; is it up and is the address right?"
    )


def test_a_token_that_is_good_for_a_while_is_not_renewed(web: HttpsServer, identity: Identity) -> None:
    assert oidc.renew(signed(web), identity, NOW + timedelta(seconds=239)) is None
    assert web.asked == []


@pytest.mark.parametrize("after", [240, 300, 900])
def test_a_token_is_renewed_before_and_after_its_end(web: HttpsServer, identity: Identity, after: int) -> None:
    fresh = signed(web, NOW + timedelta(hours=1))
    web.on("/token", {"id_token": fresh, "refresh_token": "r2"})
    known = replace(identity, refresh_token="r1", token_endpoint=f"{web.address}/token")
    login = oidc.renew(signed(web), known, NOW + timedelta(seconds=after))
    assert login is not None
    assert (login.token, login.identity.refresh_token) == (fresh, "r2")
    assert web.forms("/token") == [REFRESH]


def test_a_provider_that_gives_no_new_refresh_token_leaves_the_old_one_good(
    web: HttpsServer, identity: Identity
) -> None:
    web.on("/token", {"id_token": signed(web)})
    known = replace(identity, refresh_token="r1", token_endpoint=f"{web.address}/token")
    login = oidc.renew(signed(web), known, NOW + timedelta(seconds=300))
    assert login is not None
    assert login.identity.refresh_token == "r1"


def test_what_cannot_be_renewed_is_used_to_its_end_and_then_said(web: HttpsServer, identity: Identity) -> None:
    soon, over = NOW + timedelta(seconds=299), NOW + timedelta(seconds=300)
    unreachable = replace(identity, refresh_token="r1", token_endpoint="https://127.0.0.1:1/token")
    for known, said in ((identity, "has ended; run epm login --oidc again"), (unreachable, "refuses connections")):
        assert oidc.renew(signed(web), known, soon) is None
        with pytest.raises(CommandError, match=said):
            oidc.renew(signed(web), known, over)


def test_a_refresh_token_that_is_refused_ends_the_login(web: HttpsServer, identity: Identity) -> None:
    web.on("/token", refused("invalid_grant"))
    known = replace(identity, refresh_token="r1", token_endpoint=f"{web.address}/token")
    with pytest.raises(CommandError, match="has ended; run epm login --oidc again"):
        oidc.renew(signed(web), known, NOW + timedelta(seconds=299))


def offers(server: FakeServer, web: HttpsServer, *names: str) -> None:
    """Let the server name identity providers, and know the principal of the first."""
    options = [
        rbac_pb2.LoginOption(name=name, issuer=web.address, client_id="epm-cli", audience="epm-cli") for name in names
    ]
    server.on(rbac_pb2.GetLoginOptionsRequest, rbac_pb2.GetLoginOptionsResponse(options=options))
    server.on(rbac_pb2.WhoAmIRequest, rbac_pb2.WhoAmIResponse(principal="user:corp:alice", rights=["roles.read"]))


def login_command(console: Console, server: FakeServer, *words: str) -> Outcome:
    issuer_ca = ("--issuer-ca", str(console.ca))
    return console.run("login", "--server", server.address, "--ca", console.ca, "--oidc", *issuer_ca, *words)


def test_the_command_shows_address_and_code_and_keeps_what_the_next_ones_need(
    stranger: Console, server: FakeServer, web: HttpsServer
) -> None:
    now = datetime.now(UTC)
    server.token = signed(web, now)
    web.on("/token", {"id_token": server.token, "refresh_token": "r1"})
    web.on("/code", CODE | {"verification_uri_complete": "https://id.example.com/device?code=\x1b[2J"})
    offers(server, web, "corp")

    outcome = login_command(stranger, server)

    assert outcome.err.splitlines() == [
        "open https://id.example.com/device in a browser and enter the code ABCD-EFGH",
        r"or open https://id.example.com/device?code=\x1b[2J",
    ]
    assert (outcome.code, outcome.out.splitlines()[0]) == (
        0,
        f"logged in to {server.address} as user:corp:alice, with 1 rights",
    )
    assert stat.S_IMODE(stranger.profile.stat().st_mode) == 0o600
    assert stranger.run("get", "roles").code == 0
    assert len(web.forms("/token")) == 1


def test_a_command_renews_a_token_that_is_about_to_end(
    stranger: Console, server: FakeServer, web: HttpsServer, identity: Identity
) -> None:
    now = datetime.now(UTC)
    old, server.token = signed(web, now - timedelta(seconds=280)), signed(web, now)
    web.on("/token", {"id_token": server.token, "refresh_token": "r2"})
    known = replace(identity, refresh_token="r1", token_endpoint=f"{web.address}/token")
    environ = {"EPM_CONFIG_DIR": str(stranger.profile.parent)}
    save_profile(Profile(server.address, authority().pem.decode(), old, known), environ)

    assert stranger.run("get", "roles").code == 0

    kept = find_profile(environ)
    assert (kept.token, kept.identity) == (server.token, replace(known, refresh_token="r2"))
    assert "r2" not in repr(kept.identity)


def test_of_two_commands_that_renew_at_once_the_later_takes_what_the_first_has_kept(
    stranger: Console, web: HttpsServer, identity: Identity
) -> None:
    web.on("/token", refused("invalid_grant"))  # a refresh token is good once
    ended = replace(identity, refresh_token="r1", token_endpoint=f"{web.address}/token")
    before = Profile("localhost:1", authority().pem.decode(), signed(web), ended)
    after = replace(before, token=signed(web, datetime.now(UTC)))
    environ = {"EPM_CONFIG_DIR": str(stranger.profile.parent)}

    save_profile(before, environ)
    with pytest.raises(CommandError, match="has ended"):
        with_fresh_token(before)
    save_profile(after, environ)
    assert with_fresh_token(before) == after


def test_a_token_of_the_environment_is_never_renewed(
    stranger: Console, server: FakeServer, web: HttpsServer, identity: Identity
) -> None:
    server.token = signed(web)  # ended long ago
    save_profile(
        Profile(server.address, authority().pem.decode(), signed(web), identity),
        {"EPM_CONFIG_DIR": str(stranger.profile.parent)},
    )
    stranger.knows(server, token=server.token)

    assert stranger.run("get", "roles").code == 0
    assert web.asked == []


def test_one_of_several_providers_is_chosen_by_name(stranger: Console, server: FakeServer, web: HttpsServer) -> None:
    offers(server, web, "corp", "partners")
    server.token = signed(web)

    several, unknown = login_command(stranger, server), login_command(stranger, server, "--issuer", "copr")

    assert (several.code, several.err) == (
        2,
        f"{server.address} knows several identity providers; choose with --issuer: corp, partners\n",
    )
    assert (unknown.code, unknown.err) == (2, f"{server.address} knows no login at 'copr'; known: corp, partners\n")
    assert login_command(stranger, server, "--issuer", "partners").code == 0


def test_a_server_that_trusts_nobody_says_so(stranger: Console, server: FakeServer) -> None:
    outcome = login_command(stranger, server)

    assert (outcome.code, outcome.err) == (
        1,
        f"{server.address} trusts no identity provider to log in at; use --token-file\n",
    )
    assert not stranger.profile.exists()


@pytest.mark.parametrize("words", [(), ("--oidc", "--token-file", "x"), ("--token-file", "x", "--issuer", "corp")])
def test_a_login_is_by_token_or_by_identity_provider(stranger: Console, words: tuple[str, ...]) -> None:
    outcome = stranger.run("login", "--server", "localhost:1", "--ca", stranger.ca, *words)

    assert (outcome.code, outcome.err) == (
        2,
        "give either --token-file FILE, or --oidc (perhaps with --issuer and --issuer-ca)\n",
    )


@pytest.mark.parametrize("identity", ["x", [], {"issuer": "https://x"}, {"issuer": 7}])
def test_a_profile_with_a_damaged_identity_is_refused(stranger: Console, identity: object) -> None:
    stranger.profile.parent.mkdir()
    kept = {"server": "localhost:1", "ca": authority().pem.decode(), "token": "t", "identity": identity}
    stranger.profile.write_text(json.dumps(kept))

    assert stranger.run("get", "roles").err == f"{stranger.profile}: damaged; run epm login again\n"
