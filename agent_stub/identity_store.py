"""Keep the device's identity: key, certificate, trusted authorities and the facts of enrolment.

A renewal brings a second key and certificate, the candidate. Every step of it is one file that is written or renamed as a
whole, so that a crash between any two leaves an identity that works:

1. `candidate.key` is written. Without `candidate.crt` it is only a key that the next try takes up.
2. `candidate.ca`, then `candidate.crt` are written. From here on the candidate may have been used, and the server may have
   given up the old certificate for it: at a start it is tried first, and the old one is the fallback.
3. Once the server took it, it is promoted: `candidate.ca`, `candidate.key` and `candidate.crt` take the places of
   `ca.pem`, `key.pem` and `certificate.pem`, in this order. Between the last two, `key.pem` is the key of `candidate.crt`.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent_stub.files import StateDisk, StateError, write_private
from agent_stub.keys import certificates, fits, key_pem, new_key
from agent_stub.model import Credentials, Identity
from agent_stub.notes import read_note, write_note

IDENTITY, KEY, CERTIFICATE, AUTHORITIES = "identity.json", "key.pem", "certificate.pem", "ca.pem"
CANDIDATE_KEY, CANDIDATE, CANDIDATE_AUTHORITIES = "candidate.key", "candidate.crt", "candidate.ca"
_UNREADABLE = (OSError, ValueError, TypeError, UnsupportedAlgorithm)


def is_enrolled(folder: Path) -> bool:
    """Tell whether an enrolment was completed here; the identity is written last."""
    return (folder / IDENTITY).exists()


def save(folder: Path, identity: Identity, credentials: Credentials) -> None:
    """Write certificate and authorities, then the identity that makes them count. The key is there already."""
    write_private(folder / CERTIFICATE, credentials.certificate)
    write_private(folder / AUTHORITIES, credentials.ca)
    save_identity(folder, identity)


def save_identity(folder: Path, identity: Identity) -> None:
    """Write who the device is and the keys that it verifies policy by, as one file. Raise OSError, the old one stays."""
    fields = asdict(identity) | {"policy_keys": {name: key.hex() for name, key in identity.policy_keys.items()}}
    issued = fields.pop("policy_keys_issued")
    if issued is not None:
        fields["policy_keys_issued"] = issued.isoformat()
    write_note(folder / IDENTITY, fields)


def load(folder: Path) -> tuple[Identity, Credentials]:
    """Read what `save` wrote; raise StateError where nothing is enrolled or a file is damaged."""
    if not is_enrolled(folder):
        raise StateError(f"state folder {folder}: holds no enrolled device; run `epm-agent enroll` first")
    try:
        identity = load_identity(folder)
        credentials = _credentials(folder)
        _check(credentials)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm) as error:
        raise StateError(
            f"state folder {folder}: the identity is damaged; move the folder away and enrol the device anew"
        ) from error
    return identity, credentials


def load_identity(folder: Path) -> Identity:
    """Read the identity alone; raise OSError, ValueError, TypeError, KeyError or AttributeError where it is damaged."""
    fields = read_note(folder / IDENTITY)
    keys = {str(name): bytes.fromhex(key) for name, key in fields.pop("policy_keys").items()}
    issued = fields.pop("policy_keys_issued", None)
    return Identity(
        policy_keys=keys,
        policy_keys_issued=None if issued is None else datetime.fromisoformat(issued).astimezone(UTC),
        **{str(name): _text(value) for name, value in fields.items()},
    )


class CandidateStore:
    """The candidate of a renewal on disk. Every method but `load` raises OSError, after which it can be called again."""

    def __init__(self, folder: Path, disk: StateDisk) -> None:
        self._folder = folder
        self._disk = disk

    def load(self) -> Credentials | None:
        """Give the candidate, if there is one; finish a promotion that was interrupted. Raise StateError."""
        if not (self._folder / CANDIDATE).exists():
            return None
        try:
            if found := self._complete():
                return found
            if not (self._folder / CANDIDATE_KEY).exists() and _fits(self._folder, KEY, CANDIDATE):
                self._disk.move(self._folder / CANDIDATE, self._folder / CERTIFICATE)
            else:
                self.discard()
        except OSError as error:
            raise StateError(
                f"state folder {self._folder}: cannot be written ({error.strerror}); make room or repair it"
            ) from error
        return None

    def key(self) -> ec.EllipticCurvePrivateKey:
        """Take up the key of a renewal that was interrupted, or make and keep one."""
        path = self._folder / CANDIDATE_KEY
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except _UNREADABLE:
            key = None
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key
        fresh = new_key()
        self._disk.write(path, key_pem(fresh))
        return fresh

    def keep(self, key: ec.EllipticCurvePrivateKey, certificate: bytes, ca: bytes) -> Credentials:
        """Keep a certificate of the candidate's key: from now on it is tried."""
        self._disk.write(self._folder / CANDIDATE_AUTHORITIES, ca)
        self._disk.write(self._folder / CANDIDATE, certificate)
        return Credentials(key_pem(key), certificate, ca)

    def promote(self) -> None:
        """Put the candidate in the place of the identity that it renews, or go on with that."""
        steps = ((CANDIDATE_AUTHORITIES, AUTHORITIES), (CANDIDATE_KEY, KEY), (CANDIDATE, CERTIFICATE))
        for source, place in steps:
            if (self._folder / source).exists():
                self._disk.move(self._folder / source, self._folder / place)

    def discard(self) -> None:
        """Forget the candidate and its key."""
        for name in (CANDIDATE, CANDIDATE_KEY, CANDIDATE_AUTHORITIES):
            self._disk.remove(self._folder / name)

    def _complete(self) -> Credentials | None:
        try:
            if not _fits(self._folder, CANDIDATE_KEY, CANDIDATE):
                return None
            own = self._folder / CANDIDATE_AUTHORITIES
            authorities = (own if own.exists() else self._folder / AUTHORITIES).read_bytes()
            certificates(authorities)
        except _UNREADABLE:
            return None
        return Credentials(
            key=(self._folder / CANDIDATE_KEY).read_bytes(),
            certificate=(self._folder / CANDIDATE).read_bytes(),
            ca=authorities,
        )


def _credentials(folder: Path) -> Credentials:
    """Read key, certificate and authorities; the certificate of a promotion that was interrupted is the candidate's."""
    interrupted = not (folder / CANDIDATE_KEY).exists() and _fits(folder, KEY, CANDIDATE)
    return Credentials(
        key=(folder / KEY).read_bytes(),
        certificate=(folder / (CANDIDATE if interrupted else CERTIFICATE)).read_bytes(),
        ca=(folder / AUTHORITIES).read_bytes(),
    )


def _fits(folder: Path, key: str, certificate: str) -> bool:
    try:
        return fits((folder / key).read_bytes(), (folder / certificate).read_bytes())
    except _UNREADABLE:
        return False


def _check(credentials: Credentials) -> None:
    """Raise ValueError for what no connection can be made with: said here, where it can be told what to do."""
    certificates(credentials.ca)
    if not fits(credentials.key, credentials.certificate):
        raise ValueError("the certificate is for another key")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
