"""An estate as large organisations have it: sites, departments, roles, and policies that meet in all of them.

Devices of one kind are alike in all that policies ask for: they stand at one site, belong to one department and one ring, and
have as many users of the same groups. Each kind is a set of memberships of its own.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from elevation.certificates import parse_pem
from elevation.lint.findings import Estate as LintEstate
from elevation.model import (
    ALL_DEVICES,
    ALL_USERS,
    Assignments,
    Certificate,
    CertificateCondition,
    CertificateType,
    ChildProcesses,
    DefaultResponse,
    Detection,
    ElevationType,
    Exclude,
    FilterMode,
    Group,
    GroupType,
    Include,
    Platform,
    ReportingScope,
    ReusableCertificate,
    Rule,
    RulesPolicy,
    SettingsPolicy,
    Validation,
)
from services.policy.model.directory import Directory, DirectoryDevice
from services.policy.model.objects import About, AnyContent, Corpus, Item, Stored

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SITES, DEPARTMENTS, ROLES, RINGS, REGIONS = 25, 8, 10, 4, 8
PUBLISHERS = 40
LINUX_POLICY, DENYING, SHARED, SUPPORTED, LINUX_KIND = 19, 5, 9, 2, 3
"""Which of twenty policies is for Linux, which of twelve denies, which of ten rules is about a file that others speak of, too,
which kind of rules asks support, and which of ten kinds of devices runs Linux."""
WINDOWS = 'os = "windows"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Say how large it is."""

    devices: int = 10_000
    sets: int = 200
    policies: int = 100
    rules: int = 100


class Estate:
    """Hold all of it; the same size makes the same estate, but for the keys of the certificates."""

    def __init__(self, size: Size) -> None:
        if size.sets > SITES * DEPARTMENTS:
            raise SystemExit(f"there are at most {SITES * DEPARTMENTS} distinct sets")
        self.size = size
        self.publishers = [certificate(f"publisher-{number}") for number in range(PUBLISHERS)]

    @cached_property
    def corpus(self) -> Corpus:
        """Return everything that is authored, at revision 1."""
        return Corpus(
            1,
            tuple(stored(policy) for policy in self._settings_policies()),
            tuple(stored(self._rules_policy(number)) for number in range(self.size.policies)),
            tuple(
                stored(ReusableCertificate(f"publisher-{number}", found))
                for number, found in enumerate(self.publishers[: PUBLISHERS // 2])
            ),
        )

    @cached_property
    def directory(self) -> Directory:
        """Return devices and groups."""
        devices = [self._device(number) for number in range(self.size.devices)]
        return Directory(
            1, {device.device_id: device for device in devices}, {group.name: group for group in self._groups()}
        )

    @property
    def linted(self) -> LintEstate:
        """Return what lint looks at."""
        return lint_estate(self.corpus, self.directory)

    def kind(self, number: int) -> "Kind":
        """Return of which kind a device is."""
        return Kind(number % self.size.sets)

    def _device(self, number: int) -> DirectoryDevice:
        kind = self.kind(number)
        return DirectoryDevice(
            device_id=f"device-{number}",
            name=f"PC-{number:06}",
            enrolled=True,
            attributes={
                "name": f"PC-{number:06}",
                "os": kind.os,
                "osVersion": f"10.0.{kind.number % 5}",
                "architecture": "x86_64",
                "ownership": "personal" if kind.number % 9 == 0 else "corporate",
                "tag": (f"region-{kind.region}", f"build-{kind.number % 3}"),
            },
            users=frozenset(f"user-{number}-{user}@example.com" for user in range(kind.users)),
            scope_tags=frozenset({"default"}),
        )

    def _groups(self) -> Iterator[Group]:
        """Give groups of devices that list them, find them and nest others, and groups of users."""
        sites: dict[int, list[str]] = {}
        rings: dict[int, list[str]] = {}
        kiosks: list[str] = []
        for number in range(self.size.devices):
            kind, name = self.kind(number), f"PC-{number:06}"
            sites.setdefault(kind.site, []).append(name)
            rings.setdefault(kind.ring, []).append(name)
            if kind.is_kiosk:
                kiosks.append(name)
        for site in range(SITES):
            yield Group(f"site-{site}", GroupType.DEVICE, tuple(sites.get(site, ())))
        for ring in range(RINGS):
            yield Group(f"ring-{ring}", GroupType.DEVICE, tuple(rings.get(ring, ())))
        for region in range(REGIONS):
            yield Group(f"region-{region}", GroupType.DEVICE, filter=f'tag = "region-{region}"')
        for half in range(2):
            nested = tuple(f"site-{site}" for site in range(SITES) if site % 2 == half)
            yield Group(f"division-{half}", GroupType.DEVICE, groups=nested)
        yield Group("kiosks", GroupType.DEVICE, tuple(kiosks))
        yield from self._groups_of_users()

    def _groups_of_users(self) -> Iterator[Group]:
        members: dict[str, list[str]] = {}
        for number in range(self.size.devices):
            kind = self.kind(number)
            for user in range(kind.users):
                for group in (f"department-{kind.department}", f"role-{(kind.number + user) % ROLES}"):
                    members.setdefault(group, []).append(f"user-{number}-{user}@example.com")
        names = [*(f"department-{number}" for number in range(DEPARTMENTS)), *(f"role-{n}" for n in range(ROLES))]
        for name in names:
            yield Group(name, GroupType.USER, tuple(members.get(name, ())))

    def _settings_policies(self) -> Iterator[SettingsPolicy]:
        yield SettingsPolicy(
            "baseline",
            default_response=DefaultResponse.DENY,
            reporting_scope=ReportingScope.ALL,
            assignments=Assignments((Include(ALL_DEVICES),), (Exclude("kiosks"),)),
        )
        yield SettingsPolicy(
            "kiosks", enabled=False, send_reporting_data=False, assignments=Assignments((Include("kiosks"),))
        )
        for number in range(REGIONS):
            yield SettingsPolicy(
                f"region-{number}",
                default_response=DefaultResponse.DENY,
                reporting_scope=ReportingScope.ALL if number % 2 else ReportingScope.DIAGNOSTIC,
                stale_after=timedelta(days=7 + number),
                assignments=Assignments((Include(f"region-{number}", WINDOWS),)),
            )

    def _rules_policy(self, number: int) -> RulesPolicy:
        linux = number % 20 == LINUX_POLICY
        rules = self._linux_rule if linux else self._windows_rule
        return RulesPolicy(
            f"policy-{number:03}",
            Platform.LINUX if linux else Platform.WINDOWS,
            tuple(rules(number, place) for place in range(self.size.rules)),
            assignments=self._assignments(number),
        )

    def _assignments(self, number: int) -> Assignments:
        """Assign in the ways that organisations do; most policies are for few, some for all."""
        nth = number // 10
        include: Sequence[Include] = (
            [Include(ALL_DEVICES)],
            [Include(f"site-{number % SITES}"), Include(f"site-{(number + 7) % SITES}")],
            [Include(f"site-{(3 * nth + 1) % SITES}", WINDOWS)],
            [Include(f"region-{nth % REGIONS}", WINDOWS), Include(f"ring-{nth % RINGS}", 'tag = "build-1"')],
            [Include(f"department-{nth % DEPARTMENTS}")],
            [Include(f"role-{nth % ROLES}"), Include(f"site-{nth % SITES}")],
            [Include(f"ring-{nth % RINGS}", 'ownership = "personal"', FilterMode.EXCLUDE)],
            [Include(f"division-{nth % 2}", f'tag = "build-{nth % 3}"')],
            [Include(f"department-{(nth + 3) % DEPARTMENTS}", WINDOWS), Include(f"role-{(nth + 1) % ROLES}")],
            [Include(ALL_USERS, f'tag = "region-{nth % REGIONS}"')],
        )[number % 10]
        # Who is excluded is of the kind that is included: devices, or users.
        for_users = number % 10 in {4, 8}
        left_out = "role-7" if for_users else "kiosks", "role-9" if for_users else f"site-{(number + 2) % SITES}"
        excluded = ([left_out[0]], [], [left_out[1]], [])[number % 4]
        return Assignments(tuple(include), tuple(map(Exclude, excluded)))

    def _windows_rule(self, policy: int, place: int) -> Rule:
        """Make a rule; its kind follows from its place. Every tenth is about a file that other policies speak of, too."""
        shared = place % 10 == SHARED
        number = place if shared else policy * self.size.rules + place
        publisher = self._condition(number)
        kind = number % 8
        detection = (
            Detection(file_name=f"app{number}.exe", file_hash=sha256(number)),
            Detection(
                file_name=f"tool{number}.exe",
                file_path=f"C:\\Program Files\\Vendor {number % 50}",
                certificate=publisher,
            ),
            Detection(file_name=f"Editor{number}-*.exe", certificate=publisher, minimum_version=f"1.{number % 90}"),
            Detection(file_name="setup.exe", certificate=publisher, product_name=f"Product {number}"),
            Detection(file_name=f"agent-*-{number}.msi", file_path="C:\\ProgramData\\Packages", certificate=publisher),
            Detection(file_name=f"helper{number % 100}.exe", file_hash=sha256(number)),
            Detection(file_name=f"*{number}setup*.exe", certificate=publisher, internal_name=f"installer{number}"),
            Detection(file_name=f"debug{number}*.exe", file_path="C:\\Program Files\\*\\bin", certificate=publisher),
        )[kind]
        confirmed = frozenset({Validation.BUSINESS_JUSTIFICATION}) if number % 3 else frozenset[Validation]()
        elevation_type = self._type(policy, kind)
        return Rule(
            f"rule-{place}",
            description=f"lets the people of policy {policy} run file {number} of their work",
            elevation_type=elevation_type,
            validations=confirmed if elevation_type is ElevationType.USER_CONFIRMED else frozenset(),
            child_processes=None if elevation_type is ElevationType.DENY else ChildProcesses.REQUIRE_RULE,
            detection=detection,
            arguments=("/install", "/install /quiet") if kind == 1 and number % 5 == 0 else None,
        )

    def _linux_rule(self, policy: int, place: int) -> Rule:
        number = policy * self.size.rules + place
        denies = place % 10 == 0
        return Rule(
            f"rule-{place}",
            elevation_type=ElevationType.DENY if denies else ElevationType.USER_CONFIRMED,
            child_processes=None if denies else ChildProcesses.REQUIRE_RULE,
            detection=Detection(
                file_name=f"tool{number}", file_path=f"/opt/vendor-{number % 50}/bin", file_hash=sha256(number)
            ),
        )

    def _type(self, policy: int, kind: int) -> ElevationType:
        if policy % 12 == DENYING and kind in {0, 3, 6}:
            return ElevationType.DENY
        if kind == 0:
            return ElevationType.AUTOMATIC
        return ElevationType.SUPPORT_APPROVED if kind == SUPPORTED else ElevationType.USER_CONFIRMED

    def _condition(self, number: int) -> CertificateCondition:
        """Ask for a publisher: half of them are written into rules, and half named."""
        at = number % PUBLISHERS
        if at < PUBLISHERS // 2:
            return CertificateCondition(CertificateType.PUBLISHER, reusable=f"publisher-{at}")
        return CertificateCondition(CertificateType.PUBLISHER, self.publishers[at])


@dataclass(frozen=True, slots=True)
class Kind:
    """Say what devices of one kind have in common."""

    number: int

    @property
    def site(self) -> int:
        """Return where they stand."""
        return self.number % SITES

    @property
    def department(self) -> int:
        """Return to whom they belong."""
        return self.number // SITES

    @property
    def ring(self) -> int:
        """Return how early they get what is new."""
        return self.number % RINGS

    @property
    def region(self) -> int:
        """Return in which part of the world they are."""
        return self.number % REGIONS

    @property
    def os(self) -> str:
        """Return what they run."""
        return "linux" if self.number % 10 == LINUX_KIND else "windows"

    @property
    def is_kiosk(self) -> bool:
        """Tell whether they stand in the open."""
        return self.number % 17 == 0

    @property
    def users(self) -> int:
        """Return how many users are bound to each."""
        return 0 if self.is_kiosk else 1 + (self.number % 6 == 0)


def stored(content: Item, revision: int = 1) -> Stored[Item]:
    """Keep an object as it was written last at a revision."""
    about = About(
        scope_tags=frozenset({"default"}),
        revision=revision,
        etag=str(revision),
        created=NOW,
        updated=NOW,
        updated_by="user:owner",
    )
    return Stored(content, about)


def with_object(corpus: Corpus, content: AnyContent) -> Corpus:
    """Put an object in the place of the one of its name, at the next revision."""
    revision = corpus.revision + 1

    def replaced(objects: tuple[Stored[Item], ...]) -> tuple[Stored[Item], ...]:
        return tuple(
            replace(found, content=content, about=replace(found.about, revision=revision))
            if found.name == content.name and type(found.content) is type(content)
            else found
            for found in objects
        )

    return Corpus(
        revision,
        replaced(corpus.settings_policies),
        replaced(corpus.rules_policies),
        replaced(corpus.certificates),
    )


def lint_estate(corpus: Corpus, directory: Directory) -> LintEstate:
    """Return what lint looks at."""
    return LintEstate(
        tuple(found.content for found in corpus.settings_policies),
        tuple(found.content for found in corpus.rules_policies),
        {found.name: found.content for found in corpus.certificates},
        directory.groups,
    )


def certificate(name: str) -> Certificate:
    """Make the certificate of a publisher."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=30))
        .not_valid_after(NOW + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    return parse_pem(made.public_bytes(serialization.Encoding.PEM).decode())


def sha256(number: int) -> str:
    """Make a hash by a number; hashes of neighbours have nothing in common."""
    return f"{random.Random(number).getrandbits(256):064x}"
