"""The document of this device, ready to decide by."""

from collections import OrderedDict
from datetime import datetime, timedelta

from google.protobuf.message import DecodeError

from elevation.codec.document import decode_document
from elevation.codec.strict import CodecError, unknown_parts
from elevation.document import PolicyDocument, UserPolicy, check_document, compile_document
from elevation.index import CompiledPolicy
from elevation.model import Grant, ReportingScope
from epm.elevation.v1 import document_pb2

COMPILED_USERS = 32


class DevicePolicy:
    """A checked document. What applies to a user is compiled at their first attempt and kept for the last users."""

    def __init__(self, document: PolicyDocument) -> None:
        self._document = document
        self._compiled: OrderedDict[str, CompiledPolicy] = OrderedDict()

    @property
    def device_name(self) -> str:
        """Give the name of the device, as grants use it."""
        return self._document.device_name

    @property
    def grants(self) -> tuple[Grant, ...]:
        """Give the approvals in force."""
        return self._document.grants

    @property
    def deprovision_time(self) -> datetime | None:
        """Give the time at which the component is to go where no settings policy applies; None if it is not to go."""
        return self._document.deprovision_time

    @property
    def stale_after(self) -> timedelta | None:
        """Give the shortest time after which the policy is stale for somebody; None: for nobody ever."""
        users = (self._document.any_user, *self._document.users)
        settings = (user.settings for user in users if user.settings is not None)
        return min((found.stale_after for found in settings if found.stale_after is not None), default=None)

    def is_farewell(self) -> bool:
        """Tell whether it leaves nothing to anybody: no settings, no grants, and no component that waits for its removal."""
        users = (self._document.any_user, *self._document.users)
        return not self.grants and self.deprovision_time is None and all(user.settings is None for user in users)

    def keeps_component(self, now: datetime) -> bool:
        """Tell whether the component is to stand: settings apply to somebody, or the time of its removal is ahead."""
        users = (self._document.any_user, *self._document.users)
        if any(user.settings is not None for user in users):
            return True
        return self.deprovision_time is not None and now < self.deprovision_time

    def revision_of(self, policy: str | None) -> int:
        """Give the revision of a rules policy; 0 for none."""
        return self._document.revisions.get(policy or "", 0)

    def for_user(self, user: str) -> CompiledPolicy:
        """Give what applies to a user."""
        found = self._document.user_policy(user)
        if (known := self._compiled.get(found.user)) is not None:
            self._compiled.move_to_end(found.user)
            return known
        compiled = self._compiled[found.user] = compile_document(self._document, found)
        if len(self._compiled) > COMPILED_USERS:
            self._compiled.popitem(last=False)
        return compiled

    def scope_for(self, user: str) -> ReportingScope:
        """Tell which events about a user may leave the device."""
        return _scope(self._document.user_policy(user))

    def reports_diagnostics(self) -> bool:
        """Tell whether the client's own health may leave the device: if any of its settings lets anything leave."""
        users = (self._document.any_user, *self._document.users)
        return any(_scope(user) is not ReportingScope.NOTHING for user in users)

    def is_enabled(self) -> bool:
        """Tell whether EPM is on for anybody."""
        users = (self._document.any_user, *self._document.users)
        return any(user.settings is not None and user.settings.enabled for user in users)


def read_document(content: bytes, device_id: str) -> tuple[DevicePolicy | None, list[str]]:
    """Read the bytes of a document for a device; without a policy, the list says all that is wrong."""
    try:
        message = document_pb2.PolicyDocument.FromString(content)
    except DecodeError:
        return None, ["the document cannot be read"]
    reasons = [f"{path}: {fault}" for path, fault in unknown_parts(message)]
    if message.device_id != device_id:
        reasons.append(f"device_id: the document is for the device {message.device_id!r}")
    if reasons:
        return None, reasons
    try:
        document = decode_document(message)
    except CodecError as error:
        return None, [str(error)]
    problems = [f"{problem.path}: {problem.message}" for problem in check_document(document)]
    return (None, problems) if problems else (DevicePolicy(document), [])


def _scope(user: UserPolicy) -> ReportingScope:
    return user.settings.reporting_scope if user.settings is not None else ReportingScope.NOTHING
