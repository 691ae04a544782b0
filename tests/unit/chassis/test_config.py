"""What a service is told at start, and everything that is wrong with it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services._chassis.config import CertificateFiles, ServiceSettings, is_host, reachable
from services._chassis.errors import InvalidError

D = Path("d")
PAIR = CertificateFiles(Path("x.crt"), Path("x.key"))


def settings(**values: Any) -> ServiceSettings:
    return ServiceSettings(data_dir=D, **values)


def fields(**values: Any) -> list[str]:
    with pytest.raises(InvalidError) as raised:
        settings(**values).check()
    assert raised.value.reason == "SETTINGS_INVALID"
    return [problem.field for problem in raised.value.problems]


def test_what_is_not_said_lies_in_the_data_folder() -> None:
    own = settings()
    own.check()
    assert (own.ca, own.ca_key) == (D / "ca" / "ca.crt", D / "ca" / "ca.key")
    assert (own.signing_key, own.policy_public_keys) == (
        D / "keys" / "policy-signing.key",
        D / "keys" / "policy-signing.pub",
    )
    server = CertificateFiles(D / "certs" / "server.crt", D / "certs" / "server.key")
    assert (own.public_files, own.mesh_files) == (server, server)
    assert own.identity_of("policy") == CertificateFiles(D / "certs" / "policy.crt", D / "certs" / "policy.key")
    assert own.database_of("policy") == "sqlite:///d/policy.db"


def test_what_is_said_counts() -> None:
    own = settings(
        database_url="postgresql://h/n", ca_file=D, ca_key_file=D, signing_key_file=D, policy_public_keys_file=D
    )
    assert own.database_of("policy") == "postgresql://h/n"
    assert {own.ca, own.ca_key, own.signing_key, own.policy_public_keys} == {D}
    assert settings(public_certificate=PAIR).public_files == PAIR
    assert settings(mesh_certificate=PAIR).mesh_files == PAIR


def test_a_services_own_certificate_is_shown_on_the_mesh_and_to_others() -> None:
    own = settings(service_certificate=PAIR)
    assert (own.mesh_files, own.identity_of("rbac")) == (PAIR, PAIR)
    assert own.public_files != PAIR


def test_a_service_alone_shows_its_own_certificate_on_both_doors() -> None:
    own = CertificateFiles(D / "certs" / "rbac.crt", D / "certs" / "rbac.key")
    apart = settings().alone("rbac")
    assert (apart.public_files, apart.mesh_files, apart.identity_of("rbac")) == (own, own, own)


def test_a_service_alone_may_show_a_public_certificate_of_the_operators() -> None:
    given = CertificateFiles(D / "public.crt", D / "public.key")
    apart = settings(public_certificate=given).alone("rbac")
    assert apart.public_files == given
    assert apart.mesh_files.certificate == D / "certs" / "rbac.crt"


def test_in_one_process_the_services_meet_on_the_loopback_of_the_mesh_door() -> None:
    own = settings(mesh_host="0.0.0.0", mesh_port=0).bound(public_port=7001, mesh_port=7002)
    assert own.rbac == own.device == own.reporting == own.mesh_address == "127.0.0.1:7002"
    assert own.public_address == "127.0.0.1:7001"
    assert settings(rbac_address="rbac:1", device_address="device:2").rbac == "rbac:1"
    assert settings(rbac_address="rbac:1", device_address="device:2").device == "device:2"
    assert settings(device_address="device:2", reporting_address="reporting:3").reporting == "reporting:3"


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("", "127.0.0.1:1"),
        ("0.0.0.0", "127.0.0.1:1"),
        ("::", "[::1]:1"),
        ("[::]", "[::1]:1"),
        ("fd00::1", "[fd00::1]:1"),
        ("[fd00::1]", "[fd00::1]:1"),
        ("epm.example", "epm.example:1"),
    ],
)
def test_an_address_to_listen_on_is_reached_from_this_machine(host: str, address: str) -> None:
    assert reachable(host, 1) == address


def test_all_problems_come_at_once() -> None:
    assert fields(
        public_port=-1,
        mesh_port=65536,
        advertised_policy="nowhere",
        rbac_address="rbac:0",
        drain_grace=timedelta(seconds=-1),
        access_bound=timedelta(),
        deprovision_after=timedelta(),
        check_in_interval=timedelta(milliseconds=999),
        database_url="mysql://h/n",
        server_names=("two words",),
        trust_domain="a/b",
        on_suspected_clone="shoot",
        log_level="loud",
        log_format="xml",
    ) == [
        "public_port",
        "mesh_port",
        "advertised_policy",
        "rbac_address",
        "access_bound",
        "deprovision_after",
        "check_in_interval",
        "drain_grace",
        "access_heartbeat",
        "database_url",
        "server_names",
        "trust_domain",
        "on_suspected_clone",
        "log_level",
        "log_format",
    ]


def test_streams_are_bounded_and_devices_hear_daily() -> None:
    settings(max_rules_per_policy=1).check()
    settings(max_rules_per_policy=1000).check()
    assert fields(max_rules_per_policy=0) == fields(max_rules_per_policy=1001) == ["max_rules_per_policy"]
    settings(policy_heartbeat=timedelta(days=1), most_streams=1).check()
    assert fields(policy_heartbeat=timedelta(days=1, seconds=1), most_streams=0) == ["policy_heartbeat", "most_streams"]
    assert fields(policy_heartbeat=timedelta()) == ["policy_heartbeat"]


def test_ports_must_differ_unless_the_system_chooses() -> None:
    settings(public_port=0, mesh_port=0, health_port=0).check()
    assert fields(public_port=9000, mesh_port=9001, health_port=9000) == ["public_port, mesh_port, health_port"]


def test_a_heartbeat_must_come_within_the_bound() -> None:
    assert fields(access_heartbeat=timedelta(seconds=60)) == ["access_heartbeat"]


@pytest.mark.parametrize("url", ["", "sqlite:///x.db", "postgresql://u:p@h:5432/n", "postgresql+psycopg://h/n"])
def test_these_databases_are_known(url: str) -> None:
    settings(database_url=url).check()


@pytest.mark.parametrize("url", ["x", "mysql://h/n", "postgresql://[h/n", "postgresql://u:hunter2@h:port/n"])
def test_any_other_database_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidError) as raised:
        settings(database_url=url).check()
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("name", ["a", "epm.example.com", "*.example.com", "10.0.0.1", "fd00::1", "my_host-1"])
def test_a_certificate_may_carry_these_names(name: str) -> None:
    assert is_host(name)


@pytest.mark.parametrize("name", ["", "two words", "ü.example", "-a", "a-", "https://a", "a:1", "x" * 256])
def test_a_certificate_carries_no_other(name: str) -> None:
    assert not is_host(name)


def test_the_limit_of_failures_is_checked() -> None:
    assert fields(authentication_failures_per_minute=0) == ["authentication_failures_per_minute"]


def test_every_proxy_is_checked() -> None:
    assert fields(trusted_proxies=("10.0.0.0/8", "gateway", "10.0.0.1/8")) == ["trusted_proxies"] * 2


@pytest.mark.parametrize(("days", "fits"), [(None, True), (30, True), (29, False), (0, False), (-30, False)])
def test_audit_records_are_kept_for_a_month_at_least(days: int | None, fits: bool) -> None:  # noqa: FBT001 - a case
    kept = None if days is None else timedelta(days=days)
    settings = ServiceSettings(data_dir=Path("d"), audit_retention=kept)
    if fits:
        settings.check()
    else:
        with pytest.raises(InvalidError, match="audit_retention: must be at least 30 days"):
            settings.check()


@pytest.mark.parametrize(
    ("events", "counts", "wrong"),
    [(0, 400, "event_retention"), (30, 29, "rollup_retention"), (30, 40_000, "rollup_retention")],
)
def test_counts_are_kept_as_long_as_their_events_at_least(events: int, counts: int, wrong: str) -> None:
    kept = {"event_retention": timedelta(days=events), "rollup_retention": timedelta(days=counts)}
    assert fields(**kept) == [wrong]
    ServiceSettings(data_dir=Path("d"), event_retention=timedelta(days=1), rollup_retention=timedelta(days=1)).check()


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("check_in_interval", timedelta(seconds=1), timedelta(days=1)),
        ("deprovision_after", timedelta(microseconds=1), timedelta(days=36_500)),
        ("request_retention", timedelta(days=30), timedelta(days=36_500)),
    ],
)
def test_times_have_bounds(name: str, least: timedelta, most: timedelta) -> None:
    settings(**{name: least}).check()
    settings(**{name: most}).check()
    step = timedelta(microseconds=1)
    assert fields(**{name: least - step}) == fields(**{name: most + step}) == [name]
