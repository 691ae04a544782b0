"""What `epm serve` is told: by flags, by the environment, by a TOML file, in this order of precedence.

`SETTINGS` names every setting once. A setting `public_port` is `public_port` in the file, `EPM_PUBLIC_PORT` in the
environment and `--public-port` on the command line, where it has a flag. What may hold a password has none: every user
of the machine can read the arguments of a process. All problems of all sources are reported at once, each under the
name by which the value was given.
"""

import difflib
import tomllib
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from epmctl.documents.files import reason
from epmctl.documents.values import parse_duration
from epmctl.errors import BadInputError
from services.allinone import CertificateFiles, InvalidError, ServiceSettings

MAX_FILE_BYTES: Final = 1024 * 1024
PREFIX: Final = "EPM_"

_WORDS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


@dataclass(frozen=True, slots=True)
class Given:
    """One value as it was given: under which name, and the folder to which a relative path in it belongs."""

    label: str
    value: object
    folder: Path = Path()


Reader = Callable[[Given], object]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its name in the file, how a value is read, what it means, and whether it has a flag."""

    name: str
    read: Reader
    help: str
    flag: bool = True

    @property
    def variable(self) -> str:
        """Give the name of its environment variable."""
        return PREFIX + self.name.upper()

    @property
    def option(self) -> str:
        """Give the name of its flag."""
        return "--" + self.name.replace("_", "-")


def read_settings(flags: Mapping[str, object], environ: Mapping[str, str], config: str | None) -> ServiceSettings:
    """Put the settings together from all sources; raise BadInputError with every problem of every source."""
    problems: list[str] = []
    given = _from_file(config or environ.get("EPM_CONFIG") or "", problems)
    _override(
        given,
        {each.name: Given(each.variable, environ[each.variable]) for each in SETTINGS if environ.get(each.variable)},
    )
    _override(
        given,
        {each.name: Given(each.option, flags[each.name]) for each in SETTINGS if flags.get(each.name) is not None},
    )
    values = _values(given, problems)
    if "data_dir" not in given:
        problems.append("--data-dir (or EPM_DATA_DIR): is missing; name the folder that keeps keys and databases")
    settings = ServiceSettings(**{"data_dir": Path(), **values})
    try:
        settings.check()
    except InvalidError as error:
        problems += [f"{_label(problem.field, given)}: {problem.message}" for problem in error.problems]
    if problems:
        raise BadInputError(*problems)
    return settings


def _text(given: Given) -> str:
    if not isinstance(given.value, str):
        raise ValueError("must be text")  # noqa: TRY004 - every reader refuses with ValueError
    return given.value


def _url_without_password(given: Given) -> str:
    url = _text(given)
    if given.label.startswith("--") and _has_password(url):
        raise ValueError(
            "must not hold a password, which every user of the machine could read; use --database-url-file"
        )
    return url


def _url_in_file(given: Given) -> str:
    path = _path(given)
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES).decode("utf-8").strip()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {reason(error)}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None


def _number(given: Given) -> int:
    value = given.value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"must be a whole number, not {value!r}")


def _yes_or_no(given: Given) -> bool:
    value = _WORDS.get(given.value.lower()) if isinstance(given.value, str) else given.value
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {given.value!r}")  # noqa: TRY004 - as above
    return value


def _path(given: Given) -> Path:
    text = _text(given)
    if not text or "\0" in text:
        raise ValueError("must be a path")
    return given.folder / Path(text).expanduser()


def _names(given: Given) -> tuple[str, ...]:
    value = given.value
    if isinstance(value, str):
        return tuple(value.replace(",", " ").split())
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise ValueError("must be a list of names")


def _duration(given: Given) -> timedelta:
    value = given.value
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return timedelta(seconds=value)
        if isinstance(value, str) and not value.startswith("P"):
            return timedelta(seconds=float(value))
        return parse_duration(_text(given)) if value not in ("PT0S", "P0D") else timedelta()
    except (ValueError, OverflowError):
        message = f"must be an ISO 8601 duration such as P7D or PT30S, or a number of seconds, not {value!r}"
        raise ValueError(message) from None


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "data_dir", _path, "The folder that keeps keys, certificates and SQLite databases. Made at the first start."
    ),
    Setting("public_host", _text, "The address to listen on for administrators and enrolment [127.0.0.1]."),
    Setting("public_port", _number, "The port of the public address, server TLS [8443]; 0 lets the system choose."),
    Setting("mesh_host", _text, "The address to listen on for devices and services [127.0.0.1]."),
    Setting("mesh_port", _number, "The port of the mesh address, mutual TLS [8444]; 0 lets the system choose."),
    Setting("server_name", _names, "A name or address by which clients and devices reach this server; again for more."),
    Setting("advertised_device", _text, "HOST:PORT at which devices reach the device service."),
    Setting("advertised_policy", _text, "HOST:PORT at which devices reach the policy service."),
    Setting("advertised_reporting", _text, "HOST:PORT at which devices reach the reporting service."),
    Setting("rbac_address", _text, "HOST:PORT of the mesh address of a rbac service in another process."),
    Setting("device_address", _text, "HOST:PORT of the mesh address of a device service in another process."),
    Setting("reporting_address", _text, "HOST:PORT of the mesh address of a reporting service in another process."),
    Setting(
        "database_url", _url_without_password, "postgresql://USER@HOST/NAME; without it, SQLite in the data folder."
    ),
    Setting("database_url_file", _url_in_file, "A file that holds the database's URL, with its password."),
    Setting("reflection", _yes_or_no, "Answer gRPC reflection, for grpcurl and the like."),
    Setting("health_host", _text, "The address of a port for health checks without TLS [127.0.0.1]."),
    Setting("health_port", _number, "The port for health checks without TLS; none unless it is given."),
    Setting("trust_domain", _text, "The trust domain in the names of devices and services [openepm]."),
    Setting("ca_file", _path, "The certificate of the installation's CA [DATA_DIR/ca/ca.crt]."),
    Setting("log_level", _text, "debug, info, warning or error [info]."),
    Setting("log_format", _text, "auto, json or text [auto: text on a terminal]."),
    Setting("ca_key_file", _path, "The key of the installation's CA.", flag=False),
    Setting("public_certificate_file", _path, "The certificate that the public address shows.", flag=False),
    Setting("public_key_file", _path, "Its key.", flag=False),
    Setting("mesh_certificate_file", _path, "The certificate that the mesh address shows.", flag=False),
    Setting("mesh_key_file", _path, "Its key.", flag=False),
    Setting("service_certificate_file", _path, "The certificate by which other services know this one.", flag=False),
    Setting("service_key_file", _path, "Its key.", flag=False),
    Setting("signing_key_file", _path, "The keys that sign policy.", flag=False),
    Setting("policy_public_keys_file", _path, "The public keys that devices verify policy with.", flag=False),
    Setting(
        "oidc_ca_file",
        _path,
        "The CAs by which trusted issuers are known, PEM; those of the system if not given.",
        flag=False,
    ),
    Setting("oidc_key_refresh", _duration, "How often trusted issuers' keys are fetched [PT5M].", flag=False),
    Setting("drain_grace", _duration, "How long calls may go on after SIGTERM [PT10S].", flag=False),
    Setting("access_bound", _duration, "How long access is checked without news of rbac [PT60S].", flag=False),
    Setting("access_heartbeat", _duration, "How often rbac confirms who may do what [PT5S].", flag=False),
    Setting(
        "authentication_failures_per_minute",
        _number,
        "How often an address may fail to prove who calls, before it is told to wait [30].",
        flag=False,
    ),
    Setting(
        "trusted_proxies", _names, "Addresses or networks of gateways whose x-forwarded-for is believed.", flag=False
    ),
    Setting("deprovision_after", _duration, "How long a device without policy keeps the component [P7D].", flag=False),
    Setting("check_in_interval", _duration, "How often devices say that they are alive [PT5M].", flag=False),
    Setting(
        "policy_heartbeat",
        _duration,
        "How often devices are told that nothing has changed, at most P1D [PT5M].",
        flag=False,
    ),
    Setting("request_review_deadline", _duration, "How long elevation requests can be decided [P7D].", flag=False),
    Setting("request_access_cap", _duration, "The longest access that an approval may give [P30D].", flag=False),
    Setting(
        "request_retention", _duration, "How long elevation requests are kept after their end [P400D].", flag=False
    ),
    Setting("most_streams", _number, "How many policy streams a process holds [20000].", flag=False),
    Setting("max_rules_per_policy", _number, "How many rules one policy may hold, at most 1000 [100].", flag=False),
    Setting("device_certificate_lifetime", _duration, "How long a device's certificate is good [P90D].", flag=False),
    Setting(
        "on_suspected_clone",
        _text,
        "flag, or quarantine: what becomes of a device that looks like two [flag].",
        flag=False,
    ),
    Setting(
        "audit_checkpoint_folder", _path, "Where checkpoints of audit logs are written [DATA_DIR/audit].", flag=False
    ),
    Setting("audit_retention", _duration, "How long audit records are kept; all of them if not given.", flag=False),
    Setting("notices_file", _path, "Who is told of elevation requests, YAML; nobody if not given.", flag=False),
    Setting("event_retention", _duration, "How long events are kept.", flag=False),
    Setting("rollup_retention", _duration, "How long the counts of events are kept.", flag=False),
)
_BY_NAME: Final = {setting.name: setting for setting in SETTINGS}
_PAIRS: Final = ("public", "mesh", "service")
_FIELDS: Final = {"server_name": "server_names", "database_url_file": "database_url"}


def _from_file(place: str, problems: list[str]) -> dict[str, Given]:
    if not place:
        return {}
    path = Path(place)
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        problems.append(f"{place}: cannot be read: {reason(error)}")
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{place}: is not TOML: {error}")
        return {}
    problems += [f"{place}: {name}: {_unknown(name)}" for name in content if name not in _BY_NAME]
    return {name: Given(f"{place}: {name}", content[name], path.parent) for name in content if name in _BY_NAME}


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, _BY_NAME, n=1)
    return f"is no setting; did you mean {near[0]}?" if near else f"is no setting; there are {', '.join(_BY_NAME)}"


def _override(given: dict[str, Given], stronger: Mapping[str, Given]) -> None:
    """Let a stronger source win; the two ways to name the database are one setting."""
    if stronger.keys() & {"database_url", "database_url_file"}:
        given.pop("database_url", None)
        given.pop("database_url_file", None)
    given.update(stronger)


def _values(given: Mapping[str, Given], problems: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, one in given.items():
        try:
            values[_FIELDS.get(name, name)] = _BY_NAME[name].read(one)
        except ValueError as error:
            problems.append(f"{one.label}: {error}")
    if given.keys() >= {"database_url", "database_url_file"}:
        problems.append(f"{given['database_url'].label}: is given twice, here and in a file; leave one of them out")
    for pair in _PAIRS:
        names = [f"{pair}_certificate_file", f"{pair}_key_file"]
        found = [values.pop(name, None) for name in names]
        if all(found):
            values[f"{pair}_certificate"] = CertificateFiles(*found)
        elif len(lonely := [name for name in names if name in given]) == 1:
            other = next(name for name in names if name not in lonely)
            problems.append(f"{given[lonely[0]].label}: needs {other} (or {_BY_NAME[other].variable}) beside it")
    return values


def _label(field: str, given: Mapping[str, Given]) -> str:
    """Name the fields of the settings as the operator gave them."""
    names = [next((name for name in given if _FIELDS.get(name, name) == part), part) for part in field.split(", ")]
    return ", ".join(given[name].label if name in given else name for name in names)


def _has_password(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        secret = parts.password or "password" in urllib.parse.parse_qs(parts.query)
    except ValueError:
        return True  # what cannot be read may hold one
    return bool(secret)
