"""The plain ways of doing the same: each device by itself, and each rule beside each other."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from time import perf_counter

from elevation.assignment import Memberships, applicable
from elevation.codec.document import encode_document
from elevation.document import PolicyDocument, UserPolicy
from elevation.lint.recognition import Recognition, recognitions
from elevation.memberships import MembershipIndex
from elevation.model import Device, RulesPolicy, SettingsPolicy, User
from elevation.settings import merge
from epm.elevation.v1 import document_pb2
from services.policy.model.directory import Directory, DirectoryDevice
from services.policy.model.objects import Corpus, certificates_named


class Plain:
    """Work out the document of each device with the kernel, and share nothing but who is in which group."""

    def __init__(self, corpus: Corpus, directory: Directory) -> None:
        self._corpus = corpus
        self._policies: tuple[SettingsPolicy | RulesPolicy, ...] = (
            *(stored.content for stored in corpus.settings_policies),
            *(stored.content for stored in corpus.rules_policies),
        )
        self._index = MembershipIndex(directory.groups.values())

    def message(self, device: DirectoryDevice) -> document_pb2.PolicyDocument:
        """Return the document as a message."""
        attributes = {**device.attributes, "name": device.name}
        known = Device(device.name, self._index.of_device(device.name, attributes), attributes)
        policies = [self._reaching(known, name) for name in ("", *sorted(device.users))]
        names = {name for user in policies for name in (*user.device_targeted, *user.user_targeted)}
        rules = [stored for stored in self._corpus.rules_policies if stored.name in names]
        named = frozenset[str]().union(*(certificates_named(stored.content) for stored in rules))
        document = PolicyDocument(
            device_id=device.device_id,
            device_name=device.name,
            any_user=policies[0],
            users=tuple(policies[1:]),
            rules_policies=tuple(stored.content for stored in rules),
            revisions={stored.name: stored.about.revision for stored in rules},
            certificates=tuple(found.content for found in self._corpus.certificates if found.name in named),
        )
        return encode_document(document)

    def document(self, device: DirectoryDevice) -> bytes:
        """Return the document as it is sent."""
        return self.message(device).SerializeToString(deterministic=True)

    def _reaching(self, device: Device, user: str) -> UserPolicy:
        memberships = Memberships.of(device, User(user, self._index.of_user(user)))
        found = applicable(self._policies, self._index.types, memberships)
        return UserPolicy(
            user,
            merge(found.settings),
            tuple(sorted(policy.name for policy, user_targeted in found.rules if not user_targeted)),
            tuple(sorted(policy.name for policy, user_targeted in found.rules if user_targeted)),
        )


def pairs_a_second(corpus: Corpus, sample: int) -> tuple[int, float]:
    """Compare the rules of some policies with each other; return the pairs of all policies, and how many a second takes."""
    prepared = list(_prepared(corpus))
    some = prepared[:: max(1, len(prepared) // sample)]
    started = perf_counter()
    compared = 0
    for one, other in _pairs(some):
        _ = one.takes_in(other), other.takes_in(one), one.shares(other)
        compared += 1
    a_second = compared / (perf_counter() - started)
    return sum(1 for _ in _pairs(prepared)), a_second


def _prepared(corpus: Corpus) -> Iterator[Recognition]:
    certificates = {stored.name: stored.content for stored in corpus.certificates}
    for stored in corpus.rules_policies:
        yield from recognitions(stored.content, certificates)


def _pairs(rules: Sequence[Recognition]) -> Iterator[tuple[Recognition, Recognition]]:
    return ((one, other) for one, other in combinations(rules, 2) if one.policy.platform is other.policy.platform)
