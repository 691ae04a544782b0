"""Make the demo's files and the documents that govern them, from what is on the machine.

The Windows files are the launchers that pip carries: real executables with real version information. The Linux ones
are programs of this system. Where `osslsigncode` is installed, one launcher is signed by a code-signing CA made on the
spot; its key never leaves the demo's folder.
"""

import hashlib
import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from epmctl.errors import CommandError

LAUNCHERS = {
    "launcher": ("t64.exe", "Installers/SimpleLauncher.exe"),
    "setup": ("w64.exe", "Installers/SimpleLauncherSetup-64.exe"),
    "console": ("t32.exe", "Tools/AdminConsole.exe"),
    "driver": ("w32.exe", "Tools/DriverUpdate.exe"),
    "game": ("t64-arm.exe", "Users/alice/Downloads/Game.exe"),
    "vendor": ("w64-arm.exe", "Vendor/VendorSetup.exe"),
}
LINUX_PROGRAMS = ("id", "true")


@dataclass(frozen=True, slots=True)
class Samples:
    """The files of the demo by their short names, and the folders that go with them."""

    files: dict[str, Path]
    documents: Path
    drive: Path
    trusted_signers: Path
    signed: bool
    """False where osslsigncode is not installed: then there is no signed file and no rule by certificate."""


def make_samples(folder: Path, *, now: datetime) -> Samples:
    """Make everything below `folder`; raise CommandError where the machine lacks what the demo is made of."""
    drive, documents, signers = folder / "drive-c", folder / "policies", folder / "trusted-signers"
    documents.mkdir()
    signers.mkdir()
    files = _windows_files(drive) | _linux_files()
    pem = _sign(folder, files, signers, now=now) if shutil.which("osslsigncode") else ""
    (documents / "settings.yaml").write_text(_SETTINGS)
    (documents / "windows.yaml").write_text(_windows_documents(files, pem))
    (documents / "linux.yaml").write_text(_linux_documents(files))
    return Samples(files, documents, drive, signers, signed=bool(pem))


def _windows_files(drive: Path) -> dict[str, Path]:
    spec = importlib.util.find_spec("pip")
    source = Path(spec.origin if spec and spec.origin else "").parent / "_vendor" / "distlib"
    if not all((source / launcher).exists() for launcher, _ in LAUNCHERS.values()):
        message = (
            "the demo is made of the launchers that pip carries, and this environment has none; run it by make demo"
        )
        raise CommandError(message)
    files: dict[str, Path] = {}
    for name, (launcher, place) in LAUNCHERS.items():
        files[name] = drive / place
        files[name].parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / launcher, files[name])
    return files


def _linux_files() -> dict[str, Path]:
    files: dict[str, Path] = {}
    for program in LINUX_PROGRAMS:
        found = shutil.which(program, path="/usr/bin:/bin")
        if found is None:
            raise CommandError(f"the demo needs the program {program} in /usr/bin")
        files[program] = Path(found).resolve()
    return files


def _sign(folder: Path, files: dict[str, Path], signers: Path, *, now: datetime) -> str:
    """Sign a copy of one launcher and give the publisher's certificate, PEM."""
    private = folder / "code-signing"
    private.mkdir(mode=0o700)
    authority_key, publisher_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Demo Code Signing CA")])
    publisher_name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Demo Vendor"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Demo Vendor"),
        ]
    )
    authority = (
        _certificate(authority_name, authority_name, authority_key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    publisher = (
        _certificate(publisher_name, authority_name, publisher_key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    publisher_pem, authority_pem = (
        certificate.public_bytes(serialization.Encoding.PEM) for certificate in (publisher, authority)
    )
    (signers / "demo-code-signing-ca.pem").write_bytes(authority_pem)
    (private / "chain.pem").write_bytes(publisher_pem + authority_pem)
    key = private / "key.pem"
    key.touch(mode=0o600)
    key.write_bytes(
        publisher_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    files["signed"] = files["vendor"].parent / "signed" / files["vendor"].name
    files["signed"].parent.mkdir()
    _run_signer(private, files["vendor"], files["signed"])
    return publisher_pem.decode()


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
    )


def _run_signer(private: Path, unsigned: Path, signed: Path) -> None:
    command: list[str | Path] = [
        "osslsigncode",
        "sign",
        "-certs",
        private / "chain.pem",
        "-key",
        private / "key.pem",
        "-h",
        "sha256",
    ]
    command += ["-n", "Vendor Setup", "-in", unsigned, "-out", signed]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
    if done.returncode:
        raise CommandError(f"osslsigncode does not sign: {done.stderr.strip() or done.stdout.strip()}")


def sha256(path: Path) -> str:
    """Give the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def today() -> datetime:
    """Give the time that the demo's certificates start from."""
    return datetime.now(UTC)


def _windows_documents(files: dict[str, Path], publisher_pem: str) -> str:
    text = _WINDOWS.format(**{name: sha256(files[name]) for name in LAUNCHERS})
    if not publisher_pem:
        return text
    indented = "".join(f"    {line}\n" for line in publisher_pem.splitlines())
    return text + _VENDOR + indented


def _linux_documents(files: dict[str, Path]) -> str:
    return _LINUX.format(
        true_hash=sha256(files["true"]),
        true_name=files["true"].name,
        id_name=files["id"].name,
        id_folder=files["id"].parent,
    )


_SETTINGS = """\
# Elevation is on everywhere; what no rule knows is denied, and everything is reported.
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: workstations, description: "EPM on, deny by default", labels: {owner: endpoint-team}}
spec:
  enabled: true
  defaultResponse: DENY
  sendReportingData: true
  reportingScope: ALL
  assignments: {include: [{group: all-devices}]}
---
apiVersion: openepm/v1
kind: Group
metadata: {name: developers}
spec: {type: USER, members: [carol]}
---
apiVersion: openepm/v1
kind: Group
metadata: {name: windows-workstations}
spec: {type: DEVICE, members: [ws-1, ws-2]}
"""

_WINDOWS = """\
apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {{name: windows-tools, description: "What people on Windows may elevate"}}
spec:
  platform: WINDOWS
  rules:
    - name: simple-launcher
      description: started silently, wherever its bytes are these
      elevationType: AUTOMATIC
      detection: {{fileName: SimpleLauncher.exe, filePath: 'C:\\Installers', fileHash: "{launcher}"}}
    - name: launcher-setup
      elevationType: USER_CONFIRMED
      validations: [BUSINESS_JUSTIFICATION]
      detection: {{fileName: "SimpleLauncherSetup-*.exe", filePath: 'C:\\Installers', fileHash: "{setup}"}}
      arguments: ["/silent", "/silent /log"]
    - name: admin-console
      elevationType: CURRENT_USER
      detection: {{fileName: AdminConsole.exe, fileHash: "{console}"}}
    - name: driver-update
      elevationType: SUPPORT_APPROVED
      detection: {{fileName: DriverUpdate.exe, fileHash: "{driver}"}}
    - name: no-games
      elevationType: DENY
      detection: {{fileName: "*.exe", fileHash: "{game}"}}
  assignments: {{include: [{{group: windows-workstations}}]}}
"""

_VENDOR = """\
---
apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {name: vendor, description: "What the vendor signed, from version 1.1 on"}
spec:
  platform: WINDOWS
  rules:
    - name: vendor-setup
      elevationType: USER_CONFIRMED
      detection:
        fileName: "VendorSetup*.exe"
        certificate: {reusable: demo-vendor, type: PUBLISHER}
        minimumVersion: "1.1"
        productName: Simple Launcher
  assignments: {include: [{group: windows-workstations}]}
---
apiVersion: openepm/v1
kind: ReusableCertificate
metadata: {name: demo-vendor}
spec:
  pem: |
"""

_LINUX = """\
apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {{name: linux-tools, description: "What developers on Linux may elevate"}}
spec:
  platform: LINUX
  rules:
    - name: who-am-i
      description: any program of this name in a folder that only root can write
      elevationType: USER_CONFIRMED
      childProcesses: REQUIRE_RULE
      detection: {{fileName: {id_name}, filePath: {id_folder}}}
    - name: always-true
      elevationType: AUTOMATIC
      childProcesses: DENY
      detection: {{fileName: "{true_name}", fileHash: "{true_hash}"}}
  assignments: {{include: [{{group: developers}}]}}
"""
