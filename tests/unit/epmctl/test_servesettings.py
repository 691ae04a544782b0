"""Where `epm serve` takes its settings from, and what it refuses."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from epmctl.errors import BadInputError
from epmctl.servesettings import SETTINGS, Setting, read_settings
from services.allinone import SERVICES, CertificateFiles, ServiceSettings

D = {"data_dir": "d"}


def read(
    flags: Mapping[str, object] = D, environ: Mapping[str, str] | None = None, config: Path | str | None = None
) -> ServiceSettings:
    return read_settings(flags, environ or {}, str(config) if config else None)


def problems(
    flags: Mapping[str, object] = D, environ: Mapping[str, str] | None = None, config: Path | str | None = None
) -> tuple[str, ...]:
    with pytest.raises(BadInputError) as raised:
        read(flags, environ, config)
    return raised.value.lines


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "serve.toml"


def test_nothing_but_the_folder_needs_to_be_said() -> None:
    assert read() == ServiceSettings(data_dir=Path("d"))


def test_without_a_folder_nothing_starts() -> None:
    assert problems({}) == ("--data-dir (or EPM_DATA_DIR): is missing; name the folder that keeps keys and databases",)


def test_a_flag_goes_before_the_environment_and_the_environment_before_the_file(config: Path) -> None:
    config.write_text("public_port = 1001\nmesh_port = 1002\nhealth_port = 1003\n")
    environ = {"EPM_PUBLIC_PORT": "2001", "EPM_MESH_PORT": "2002", "EPM_CONFIG": str(config)}
    settings = read({**D, "public_port": "3001"}, environ)
    assert (settings.public_port, settings.mesh_port, settings.health_port) == (3001, 2002, 1003)


def test_the_flag_for_the_file_goes_before_its_variable(config: Path) -> None:
    config.write_text("public_port = 1001\n")
    assert read(D, {"EPM_CONFIG": "nowhere.toml"}, config).public_port == 1001


def test_an_empty_variable_says_nothing() -> None:
    assert read(D, {"EPM_PUBLIC_PORT": "", "EPM_DATABASE_URL_FILE": ""}) == ServiceSettings(data_dir=Path("d"))


def test_every_kind_of_value_can_stand_in_the_file(config: Path) -> None:
    config.write_text(
        'data_dir = "data"\nserver_name = ["a.example", "10.0.0.1"]\nreflection = true\ndrain_grace = 2.5\n'
        'deprovision_after = "P14D"\nca_file = "/etc/ca.crt"\ndatabase_url = "postgresql://u:secret@h/n"\n'
    )
    settings = read({}, config=config)
    assert settings.data_dir == config.parent / "data"
    assert settings.server_names == ("a.example", "10.0.0.1")
    assert settings.reflection is True
    assert (settings.drain_grace, settings.deprovision_after) == (timedelta(seconds=2.5), timedelta(days=14))
    assert settings.ca_file == Path("/etc/ca.crt")
    assert settings.database_url == "postgresql://u:secret@h/n"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_has_an_environment_variable(setting: Setting, tmp_path: Path) -> None:
    samples = {"port": "7", "file": str(tmp_path / "f"), "url": "sqlite:///x", "reflection": "yes", "level": "debug"}
    samples |= {"format": "json", "name": "a.example", "domain": "other", "host": "::1", "dir": "elsewhere"}
    samples |= {
        "heartbeat": "7",
        "minute": "7",
        "streams": "7",
        "max_rules_per_policy": "7",
        "clone": "quarantine",
        "proxies": "10.0.0.0/8 ::1",
        "retention": "P40D",
        "deadline": "P2D",
        "cap": "P2D",
    } | dict.fromkeys(("grace", "bound", "after", "lifetime", "refresh", "interval"), "PT40S")
    (tmp_path / "f").write_text("sqlite:///y")
    value = samples.get(setting.name) or samples.get(setting.name.rpartition("_")[2], "host:1")
    pairs = [(f"{door}_certificate_file", f"{door}_key_file") for door in ("public", "mesh", "service")]
    together = next((pair for pair in pairs if setting.name in pair), (setting.name,))
    variables = {f"EPM_{name.upper()}": value for name in together}
    assert read({}, {"EPM_DATA_DIR": "d", **variables}) != ServiceSettings(data_dir=Path("d"))


def test_a_list_of_names_in_a_variable_is_split_at_commas_and_spaces() -> None:
    assert read(D, {"EPM_SERVER_NAME": "a.example, b.example c.example"}).server_names == (
        "a.example",
        "b.example",
        "c.example",
    )


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10), ("0.5", 0.5), ("PT10S", 10), ("P1D", 86400), ("PT0S", 0), ("0", 0)]
)
def test_a_duration_is_iso_8601_or_seconds(text: str, seconds: float) -> None:
    assert read(D, {"EPM_DRAIN_GRACE": text}).drain_grace == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["soon", "P1M", "nan", "1e999", "PT"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    (problem,) = problems(D, {"EPM_DRAIN_GRACE": text})
    assert problem.startswith("EPM_DRAIN_GRACE: must be an ISO 8601 duration such as P7D or PT30S, or a number")


def test_an_unknown_key_is_an_error_that_names_the_nearest(config: Path) -> None:
    config.write_text("publik_port = 1\nzzz = 2\n")
    first, second = problems(config=config)
    assert first == f"{config}: publik_port: is no setting; did you mean public_port?"
    assert second.startswith(f"{config}: zzz: is no setting; there are data_dir, ")


def test_all_problems_of_all_sources_come_at_once_under_the_names_they_were_given_by(config: Path) -> None:
    config.write_text('server_nam = "x"\nreflection = "perhaps"\nlog_level = "loud"\n')
    found = problems({**D, "mesh_port": "70000"}, {"EPM_PUBLIC_PORT": "many", "EPM_RBAC_ADDRESS": "rbac"}, config)
    assert [problem.rpartition(": ")[0] for problem in found] == [
        f"{config}: server_nam",
        f"{config}: reflection",
        "EPM_PUBLIC_PORT",
        "--mesh-port",
        "EPM_RBAC_ADDRESS",
        f"{config}: log_level",
    ]


def test_ports_that_collide_are_told_by_all_their_names() -> None:
    (problem,) = problems({**D, "public_port": "9000"}, {"EPM_MESH_PORT": "9000"})
    assert problem == "--public-port, EPM_MESH_PORT: must differ from one another"


@pytest.mark.parametrize(
    ("text", "said"), [("public_port = ", "is not TOML"), ("\x00", "is not TOML"), (None, "cannot be read")]
)
def test_a_file_that_is_no_settings_file_is_refused(config: Path, text: str | None, said: str) -> None:
    if text is not None:
        config.write_text(text)
    (problem,) = problems(config=config)
    assert problem.startswith(f"{config}: {said}")


@pytest.mark.parametrize(
    "url", ["postgresql://u:hunter2@h/n", "postgresql://h/n?password=hunter2", "postgresql://u:hunter2@[h/n"]
)
def test_a_password_never_stands_on_the_command_line(url: str) -> None:
    found = problems({**D, "database_url": url})
    assert "--database-url: must not hold a password" in found[0]
    assert "hunter2" not in "".join(found)


def test_a_url_without_a_password_may_stand_there() -> None:
    url = "postgresql://u@/n?host=/run/postgresql"
    assert read({**D, "database_url": url}).database_url == url


def test_a_wrong_url_is_refused_without_repeating_it() -> None:
    found = problems(D, {"EPM_DATABASE_URL": "mysql://u:hunter2@h/n"})
    assert found == ("EPM_DATABASE_URL: must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME",)


def test_the_url_can_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://u:secret@h/n\n")
    settings = read({**D, "database_url_file": str(tmp_path / "url")})
    assert settings.database_url == "postgresql://u:secret@h/n"


def test_a_stronger_source_decides_about_the_database_in_either_way(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://file/n")
    flags = {**D, "database_url_file": str(tmp_path / "url")}
    assert read(flags, {"EPM_DATABASE_URL": "postgresql://environment/n"}).database_url == "postgresql://file/n"


def test_a_url_goes_before_a_file_that_a_weaker_source_names(config: Path) -> None:
    config.write_text('database_url_file = "none"\n')
    assert read(D, {"EPM_DATABASE_URL": "postgresql://h/n"}, config).database_url == "postgresql://h/n"


def test_the_database_is_named_once_a_source(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://file/n")
    flags = {**D, "database_url_file": str(tmp_path / "url"), "database_url": "postgresql://h/n"}
    assert problems(flags) == ("--database-url: is given twice, here and in a file; leave one of them out",)


def test_a_url_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (problem,) = problems({**D, "database_url_file": str(tmp_path / "none")})
    assert problem == f"--database-url-file: {tmp_path / 'none'} cannot be read: no such file or directory"


def test_a_certificate_and_its_key_make_a_pair() -> None:
    environ = {"EPM_PUBLIC_CERTIFICATE_FILE": "/c", "EPM_PUBLIC_KEY_FILE": "/k"}
    assert read(D, environ).public_certificate == CertificateFiles(Path("/c"), Path("/k"))


def test_a_certificate_without_its_key_is_refused() -> None:
    (problem,) = problems(D, {"EPM_MESH_CERTIFICATE_FILE": "/c"})
    assert problem == "EPM_MESH_CERTIFICATE_FILE: needs mesh_key_file (or EPM_MESH_KEY_FILE) beside it"


def test_compose_gives_no_setting_and_no_flag_that_is_not_there() -> None:
    compose = yaml.safe_load((Path(__file__).parents[3] / "deploy" / "compose.yaml").read_text())
    served = {name: each for name, each in compose["services"].items() if name in SERVICES}
    assert set(served) == set(SERVICES)
    for name, each in served.items():
        assert set(each["environment"]) <= {setting.variable for setting in SETTINGS}
        service, *words = each["command"]
        assert service == name
        assert set(words[::2]) <= {setting.option for setting in SETTINGS if setting.flag}
        environ = {variable: str(value) for variable, value in each["environment"].items()}
        assert read({}, environ).data_dir == Path("/var/lib/openepm")
