"""Read attempts: the JSON of the simulator, strict at every level.

`read_attempt` reports every problem with its path and gives an attempt only where there is none. What may be absent:
`attributes` (none), groups (none), `administrator` (false), `arguments` (none), `parent` (none), `grants` (none),
`policyConfirmed` (now), every fact of the file (not known), `notBefore` of a grant (since ever) and its `usesLeft`
(many). A grant states its `arguments`: null, any, has to be written. Only a CHILD has a parent.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from elevation.model import Attempt, Attributes, Certificate, Device, FileEvidence, Grant, Parent, Signer, User
from elevation.words import Platform, Trigger
from epmctl.jsontext import RepeatedKeys
from epmctl.simulation.jsonfields import Json, JsonReader, shown

_TOP: Final = frozenset(
    {"device", "user", "trigger", "platform", "file", "arguments", "parent", "grants", "policyConfirmed", "now"}
)
_DEVICE: Final = frozenset({"name", "groups", "attributes"})
_USER: Final = frozenset({"name", "groups", "administrator"})
_TEXT_FACTS: Final = ("path", "version", "description", "productName", "internalName", "companyName")
_FILE: Final = frozenset(_TEXT_FACTS) | {"sha256", "rootOnlyPath", "signers"}
_SIGNER: Final = frozenset(("leafPem", "chainPems", "trusted"))
_PARENT: Final = frozenset(("policy", "rule"))
_GRANT: Final = frozenset(("id", "user", "device", "sha256", "arguments", "notBefore", "expires", "usesLeft"))
_PLATFORMS: Final = dict(Platform.__members__)
_TRIGGERS: Final = dict(Trigger.__members__)
_EPOCH: Final = datetime(1, 1, 1, tzinfo=UTC)


def read_attempt(value: object, report: Callable[[str, str], None]) -> Attempt | None:
    """Read one attempt; what is wrong goes to `report(path, message)`, and the result is then None."""
    return _Reader(report).attempt(value)


class _Reader(JsonReader):
    """Reads one attempt."""

    __slots__ = ()

    def attempt(self, value: object) -> Attempt | None:
        top = self.mapping(value, "", _TOP)
        if top is None:
            return None
        now = self.time(top, "now", "now", required=True)
        trigger = self.word(top, "trigger", _TRIGGERS)
        platform = self.word(top, "platform", _PLATFORMS)
        attempt = Attempt(
            device=self._device(top),
            user=self._user(top),
            trigger=trigger or Trigger.REQUEST,
            platform=platform or Platform.LINUX,
            file=self._file(top),
            now=now or _EPOCH,
            arguments=self.texts(top, "arguments", "arguments"),
            parent=self._parent(top, trigger),
            grants=self.each(top, "grants", "grants", self._grant),
            policy_confirmed=self.time(top, "policyConfirmed", "policyConfirmed", required=False),
        )
        return attempt if self.clean else None

    def _device(self, top: Json) -> Device:
        device = self.mapping(self.given(top, "device", "device"), "device", _DEVICE)
        if device is None:
            return Device("")
        return Device(
            name=self.name(device, "name", "device.name"),
            groups=frozenset(self.texts(device, "groups", "device.groups")),
            attributes=self._attributes(device.get("attributes")),
        )

    def _user(self, top: Json) -> User:
        user = self.mapping(self.given(top, "user", "user"), "user", _USER)
        if user is None:
            return User("")
        return User(
            name=self.name(user, "name", "user.name"),
            groups=frozenset(self.texts(user, "groups", "user.groups")),
            administrator=self.flag(user, "administrator", "user.administrator"),
        )

    def _file(self, top: Json) -> FileEvidence:
        file = self.mapping(self.given(top, "file", "file"), "file", _FILE)
        if file is None:
            return FileEvidence("")
        path, version, description, product_name, internal_name, company_name = self._facts(file)
        return FileEvidence(
            path=path,
            sha256=self.sha256(file, "file.sha256", required=False),
            version=version,
            description=description,
            product_name=product_name,
            internal_name=internal_name,
            company_name=company_name,
            root_only_path=self.flag(file, "rootOnlyPath", "file.rootOnlyPath"),
            signers=self.each(file, "signers", "file.signers", self._signer),
        )

    def _facts(self, file: Json) -> list[str]:
        """Read the facts that are texts, in the order of their names; null, blank and absent say the same."""
        facts: list[str] = []
        for key in _TEXT_FACTS:
            value = file.get(key)
            if type(value) is str:
                facts.append(value)
                continue
            if value is not None:
                self.wrong(f"file.{key}", f"must be text, not {shown(value)}")
            facts.append("")
        return facts

    def _signer(self, value: object, path: str) -> Signer | None:
        signer = self.mapping(value, path, _SIGNER)
        if signer is None:
            return None
        leaf_text = self.name(signer, "leafPem", f"{path}.leafPem")
        leaf = self._certificate(leaf_text, f"{path}.leafPem") if leaf_text else None
        chain_texts = self.texts(signer, "chainPems", f"{path}.chainPems")
        chain = [self._certificate(text, f"{path}.chainPems[{i}]") for i, text in enumerate(chain_texts)]
        if "trusted" not in signer:
            self.wrong(f"{path}.trusted", "required key is missing; say true or false")
        trusted = self.flag(signer, "trusted", f"{path}.trusted")
        if leaf is None:
            return None
        return Signer(leaf, tuple(certificate for certificate in chain if certificate is not None), trusted)

    def _certificate(self, text: str, path: str) -> Certificate | None:
        # cryptography takes as long to import as everything else together.
        from elevation.certificates import parse_pem  # noqa: PLC0415

        try:
            return parse_pem(text)
        except ValueError as error:
            self.wrong(path, str(error))
            return None

    def _parent(self, top: Json, trigger: Trigger | None) -> Parent | None:
        value = top.get("parent")
        if value is None:
            if trigger is Trigger.CHILD:
                self.wrong("parent", "required with trigger CHILD: the policy and rule that elevated the parent")
            return None
        if trigger is not None and trigger is not Trigger.CHILD:
            self.wrong("parent", f"must be null or absent with trigger {trigger.name}; only a CHILD has a parent")
        parent = self.mapping(value, "parent", _PARENT)
        if parent is None:
            return None
        return Parent(self.name(parent, "policy", "parent.policy"), self.name(parent, "rule", "parent.rule"))

    def _grant(self, value: object, path: str) -> Grant | None:
        grant = self.mapping(value, path, _GRANT)
        if grant is None:
            return None
        if "arguments" not in grant:
            self.wrong(f"{path}.arguments", "required key is missing; write null for any arguments")
        return Grant(
            id=self.name(grant, "id", f"{path}.id"),
            user=self.name(grant, "user", f"{path}.user"),
            device=self.name(grant, "device", f"{path}.device"),
            sha256=self.sha256(grant, f"{path}.sha256", required=True),
            arguments=None if grant.get("arguments") is None else self.texts(grant, "arguments", f"{path}.arguments"),
            not_before=self.time(grant, "notBefore", f"{path}.notBefore", required=False) or _EPOCH,
            expires=self.time(grant, "expires", f"{path}.expires", required=True) or _EPOCH,
            uses_left=self.count(grant, "usesLeft", f"{path}.usesLeft"),
        )

    def _attributes(self, value: object) -> Attributes:
        """Read the open map of facts about the device: each a text or a list of texts."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.wrong("device.attributes", f"must be an object, not {shown(value)}")
            return {}
        if isinstance(value, RepeatedKeys):
            self.repeated(value, "device.attributes")
        return {key: fact for key, item in value.items() if (fact := self._attribute(key, item)) is not None}

    def _attribute(self, key: str, value: object) -> "str | tuple[str, ...] | None":
        if type(value) is str:
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(value)
        if isinstance(value, list) and all(type(item) is str for item in value):
            return tuple(value)
        if value is not None:
            self.wrong(f"device.attributes.{key}", f"must be text or a list of texts, not {shown(value)}")
        return None
