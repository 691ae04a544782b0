"""Which server to talk to, how to know it, and the token to show: from the environment, or from what `epm login` kept.

`EPM_SERVER`, `EPM_CA`, `EPM_TOKEN_FILE` and `EPM_TOKEN` go before the profile, each for itself. A token never stands on
a command line, where every user of the machine could read it.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

from epmctl.documents.files import STDIN, reason, shown, write_whole
from epmctl.errors import BadInputError
from epmctl.jsontext import JsonError, parse_json

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_PORT: Final = 65_535

_KEYS: Final = ("server", "ca", "token")
_IDENTITY: Final = "identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who one is at an identity provider: what it takes to get tokens there. `ca` is PEM text, "" for the system's."""

    issuer: str
    client_id: str
    audience: str
    ca: str = ""
    token_endpoint: str = ""
    refresh_token: str = ""

    def __repr__(self) -> str:
        """Show the issuer alone: the refresh token is a secret."""
        return f"Identity({self.issuer!r})"


@dataclass(frozen=True, slots=True)
class Profile:
    """How to reach a server and who to be there; `ca` is the PEM text of the CA that the server must show."""

    server: str
    ca: str
    token: str
    identity: Identity | None = None
    """Where the token comes from; None for one that was issued by the server or comes from the environment."""

    def __repr__(self) -> str:
        """Show the server alone: the token is a secret."""
        return f"Profile({self.server!r})"


def find_profile(environ: Mapping[str, str]) -> Profile:
    """Give the profile to use; raise BadInputError where none is complete."""
    kept, identity = _read_kept(profile_path(environ))
    server = environ.get("EPM_SERVER") or kept.get("server", "")
    ca = read_ca(environ["EPM_CA"]) if environ.get("EPM_CA") else kept.get("ca", "")
    own_token = _token_of(environ)
    token = own_token or kept.get("token", "")
    missing = [
        f"{what} ({variable})"
        for what, variable, value in (
            ("the server", "EPM_SERVER", server),
            ("its CA", "EPM_CA", ca),
            ("a token", "EPM_TOKEN_FILE or EPM_TOKEN", token),
        )
        if not value
    ]
    if missing:
        message = f"not logged in: {', '.join(missing)} not known; run epm login --server HOST:PORT --ca FILE --token-file FILE"
        raise BadInputError(message)
    return Profile(check_server(server), ca, token, None if own_token else identity)


def save_profile(profile: Profile, environ: Mapping[str, str]) -> Path:
    """Keep `profile` for later commands, readable by its owner alone; the file is there whole or not at all."""
    path = profile_path(environ)
    kept = {"server": profile.server, "ca": profile.ca, "token": profile.token}
    text = json.dumps(kept | ({_IDENTITY: asdict(profile.identity)} if profile.identity else {}), indent=2)
    try:
        for missing in reversed([folder for folder in path.parents if not folder.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)  # one by one: `parents` would leave those above to the mask
        write_whole(path, text + "\n")
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written: {reason(error)}") from None
    return path


def profile_path(environ: Mapping[str, str]) -> Path:
    """Give the file that holds the profile."""
    if environ.get("EPM_CONFIG_DIR"):
        return Path(environ["EPM_CONFIG_DIR"]) / "profile.json"
    home = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or Path.home()) / ".config")
    return Path(home) / "openepm" / "profile.json"


def check_server(server: str) -> str:
    """Give the address if it reads HOST:PORT; raise BadInputError otherwise."""
    host, colon, port = server.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) <= MAX_PORT) or "://" in server:
        raise BadInputError(f"the server must be HOST:PORT, not {server!r}")
    return server


def read_ca(place: str) -> str:
    """Read the PEM text of a CA; raise BadInputError where it is none."""
    import ssl  # noqa: PLC0415 - a CA is read when logging in, and hardly ever after

    text = _read_small(place)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        message = f"{shown(place)}: holds no PEM certificate; give the CA of the server, for example DATA/ca/ca.crt"
        raise BadInputError(message) from None
    return text


def read_token(place: str) -> str:
    """Read a token from a file or, for `-`, from standard input; raise BadInputError where there is none."""
    return check_token(_read_small(place), shown(place))


def check_token(text: str, place: str) -> str:
    """Give the token that `text` is; raise BadInputError for anything that cannot be one."""
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise BadInputError(f"{place}: holds no token; it must be one line, as it was issued")
    return token


def _token_of(environ: Mapping[str, str]) -> str:
    if environ.get("EPM_TOKEN_FILE"):
        return read_token(environ["EPM_TOKEN_FILE"])
    return check_token(environ["EPM_TOKEN"], "EPM_TOKEN") if environ.get("EPM_TOKEN") else ""


def _read_small(place: str) -> str:
    try:
        if place == STDIN:
            data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with Path(place).open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadInputError(f"{shown(place)}: cannot be read: {reason(error)}") from None
    if len(data) > MAX_FILE_BYTES:
        raise BadInputError(f"{shown(place)}: larger than {MAX_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInputError(f"{shown(place)}: not UTF-8 text") from None


def _read_kept(path: Path) -> tuple[dict[str, str], Identity | None]:
    if not path.exists():
        return {}, None
    damaged = BadInputError(f"{path}: damaged; run epm login again")
    try:
        value = parse_json(_read_small(str(path)))
    except JsonError:
        raise damaged from None
    identity = value.pop(_IDENTITY, None) if isinstance(value, dict) else None
    kept = _texts(value, _KEYS)
    known = {} if identity is None else _texts(identity, tuple(field.name for field in fields(Identity)))
    if kept is None or known is None:
        raise damaged
    return kept, Identity(**known) if known else None


def _texts(value: object, keys: tuple[str, ...]) -> dict[str, str] | None:
    """Give a mapping of exactly these keys to texts; None for anything else."""
    if isinstance(value, dict) and set(value) == set(keys) and all(isinstance(text, str) for text in value.values()):
        return value
    return None
