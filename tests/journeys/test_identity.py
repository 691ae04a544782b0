"""Administrators whom the organisation's identity provider knows: a real provider, the real services, the command line."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.builders.doors import authority
from tests.builders.installation import Done, Installation, installation
from tests.builders.provider import Browser, Provider, new_key, provider

EPM = [sys.executable, "-c", "from epmctl.main import main; main()"]
PATIENCE = 60.0

pytestmark = pytest.mark.xdist_group("identity")


@dataclass(frozen=True, slots=True)
class House:
    """An installation that trusts a provider."""

    installation: Installation
    provider: Provider

    def trust(self, audience: str = "epm-cli", **more: str) -> None:
        """Trust the provider's tokens for an audience; the group of its administrators may manage roles."""
        extra = "".join(f"\n  {key}: {value}" for key, value in more.items())
        self.installation.apply(f"""
apiVersion: openepm/v1
kind: PrincipalGroup
metadata: {{name: role-administrators}}
spec: {{members: []}}
---
apiVersion: openepm/v1
kind: RoleAssignment
metadata: {{name: role-administrators}}
spec: {{role: Role Administrator, members: ["group:role-administrators"]}}
---
apiVersion: openepm/v1
kind: TrustedIssuer
metadata: {{name: corp}}
spec:
  issuer: {self.provider.issuer}
  audiences: ["{audience}"]
  principalPrefix: "corp:"
  groupsClaim: groups
  groupMappings: [{{claimValue: epm-admins, principalGroup: role-administrators}}]
  clientId: epm-cli{extra}
""")

    def profile(self, user: str) -> Path:
        """Return the folder of a user's profile."""
        return self.installation.folder / f"config-{user}"

    def log_in(self, user: str, *, deny: bool = False) -> Done:
        """Log in as a user: one program shows a code, a browser confirms it."""
        home = self.installation
        words = ["login", "--server", home.server, "--ca", str(home.ca), "--oidc"]
        words += ["--issuer-ca", str(home.folder / "issuer-ca.crt")]
        with subprocess.Popen(
            [*EPM, *words],
            env=home.environ() | {"EPM_CONFIG_DIR": str(self.profile(user))},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            first, second = process.stderr.readline(), process.stderr.readline()
            assert re.fullmatch(r"open https://\S+ in a browser and enter the code [A-Z-]{9}\n", first), first
            Browser().confirm(second.removeprefix("or open ").strip(), user, deny=deny)
            output, errors = process.communicate(timeout=PATIENCE)
        return Done(process.returncode, output, errors)

    def epm(self, user: str, *words: str) -> Done:
        """Run a command as a user who has logged in."""
        return self.installation.run("epm", *words, EPM_CONFIG_DIR=str(self.profile(user)))

    def accepted(self, user: str) -> bool:
        """Tell whether the server knows who the user is, whatever they may do."""
        return "does not accept the token" not in self.epm(user, "get", "roles").errors


@contextmanager
def house_with(folder: Path, *, token_seconds: int = 300) -> Iterator[House]:
    """Run a provider and an installation that fetches its keys all the time."""
    (folder / "issuer-ca.crt").write_bytes(authority().pem)
    settings = {"EPM_OIDC_CA_FILE": str(folder / "issuer-ca.crt"), "EPM_OIDC_KEY_REFRESH": "0.2"}
    with (
        provider(folder / "provider", new_key("first"), token_seconds=token_seconds) as issuer,
        installation(folder, **settings) as built,
    ):
        yield House(built, issuer)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house_with(tmp_path_factory.mktemp("identity")) as built:
        yield built


@pytest.fixture
def wider(tmp_path: Path) -> Iterator[House]:
    """Give a house of its own to a test that lets the organisation's group do more than the others expect."""
    with house_with(tmp_path) as built:
        yield built


def test_a_user_of_the_organisation_logs_in_until_the_key_is_rotated_away(house: House) -> None:
    house.trust()

    done = house.log_in("alice")

    assert (done.code, done.errors) == (0, "")
    assert f"logged in to {house.installation.server} as user:corp:alice, with" in done.output
    assert house.epm("alice", "get", "roles").code == 0
    house.installation.wait_for(
        "the issuer at the other services", lambda: "not allowed" in house.epm("alice", "get", "devices").errors
    )
    house.provider.rotate(new_key("second", "ES256"))
    house.installation.wait_for("the end of the old key", lambda: not house.accepted("alice"))
    assert house.log_in("alice").code == 0
    assert house.epm("alice", "get", "roles").code == 0


def test_a_user_in_no_mapped_group_is_known_and_may_nothing(house: House) -> None:
    house.trust()

    done = house.log_in("bob")

    assert done.output.startswith(f"logged in to {house.installation.server} as user:corp:bob, with 0 rights\n")
    assert "not allowed" in house.epm("bob", "get", "roles").errors


def test_a_login_that_is_denied_in_the_browser_leaves_nothing(house: House) -> None:
    house.trust()

    done = house.log_in("mallory", deny=True)

    assert (done.code, done.errors) == (1, f"the login was denied at {house.provider.issuer}\n")
    assert not house.profile("mallory").exists()


def applied(house: House, documents: Path) -> Done | None:
    """Apply documents as a user of the organisation; nothing while that is refused."""
    done = house.epm("alice", "apply", "-f", str(documents))
    return done if done.code == 0 else None


def test_what_a_group_of_the_organisation_may_counts_in_every_service(wider: House) -> None:
    wider.trust()
    wider.installation.apply("""
apiVersion: openepm/v1
kind: RoleAssignment
metadata: {name: devices}
spec: {role: Device Administrator, members: ["group:role-administrators"]}
---
apiVersion: openepm/v1
kind: RoleAssignment
metadata: {name: policies}
spec: {role: Endpoint Privilege Manager, members: ["group:role-administrators"], scopeGroups: [laptops]}
""")
    wider.log_in("alice")
    policy = wider.installation.folder / "policy.yaml"
    policy.write_text("""
apiVersion: openepm/v1
kind: Group
metadata: {name: laptops}
spec: {type: DEVICE, members: [ws-1]}
---
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: laptops}
spec: {assignments: {include: [{group: laptops}]}}
""")

    # The rights of the group arrive at each service by itself.
    done = wider.installation.wait_for("the rights", lambda: applied(wider, policy))

    assert done is not None
    assert done.errors == ""
    assert "by user:corp:alice" in wider.epm("alice", "get", "settings-policy", "laptops").output
    wider.installation.wait_for("the rights", lambda: wider.epm("alice", "report", "elevations").code == 0)


def test_an_access_token_for_the_audience_serves_as_well(house: House) -> None:
    house.trust(audience="https://epm.example.com/api", principalClaim="sub")

    assert "as user:corp:alice, with" in house.log_in("alice").output
    assert house.epm("alice", "get", "roles").code == 0


def test_a_token_that_is_about_to_end_is_renewed_and_kept(tmp_path: Path) -> None:
    with house_with(tmp_path, token_seconds=30) as house:
        house.trust()
        house.log_in("alice")
        kept = house.profile("alice") / "profile.json"
        before = json.loads(kept.read_text())

        assert house.epm("alice", "get", "roles").code == 0

    after = json.loads(kept.read_text())
    assert after["identity"]["refresh_token"] != before["identity"]["refresh_token"]
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_token_counts_no_longer_once_the_issuer_is_trusted_for_others(house: House) -> None:
    house.trust()
    house.log_in("alice")
    assert house.epm("alice", "get", "roles").code == 0

    house.trust(audience="somebody-else")

    done = house.epm("alice", "get", "roles")

    assert done.code == 1
    assert "does not accept the token (the token is refused" in done.errors
