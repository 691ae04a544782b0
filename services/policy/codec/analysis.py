"""Questions about policies from the contract, and what is answered to it."""

from datetime import UTC, datetime

from google.protobuf.message import Message

from elevation.codec.decisions import decode_evidence, encode_decision, evidence_faults
from elevation.codec.settings import encode_settings
from elevation.model import FileEvidence, Grant, Parent, Trigger
from elevation.paths import is_sha256
from elevation.reach import Part
from elevation.settings import Origin
from epm.elevation.v1 import document_pb2, event_pb2
from epm.policy.v1 import analysis_pb2, policies_pb2
from services._chassis.errors import InvalidError, Problem
from services._chassis.times import time_from_proto
from services.policy.codec.overlays import flaws_beside_draft, overlay_from_proto
from services.policy.codec.reading import PLATFORMS
from services.policy.model.objects import kind_of
from services.policy.model.origins import EffectiveSettings
from services.policy.model.reach import Reach, ToldReason
from services.policy.usecases.analysis.reach import EffectivePolicy, ReachWanted
from services.policy.usecases.analysis.simulation import Simulated, SimulationWanted

_TRIGGERS = {
    event_pb2.TRIGGER_UNSPECIFIED: Trigger.REQUEST,
    event_pb2.TRIGGER_REQUEST: Trigger.REQUEST,
    event_pb2.TRIGGER_LAUNCH: Trigger.LAUNCH,
    event_pb2.TRIGGER_CHILD: Trigger.CHILD,
}
_PARTS = {
    Part.INCLUDED: analysis_pb2.REACH_KIND_INCLUDED,
    Part.EXCLUDED: analysis_pb2.REACH_KIND_EXCLUDED,
    Part.NOT_A_MEMBER: analysis_pb2.REACH_KIND_NOT_A_MEMBER,
    Part.FILTERED_OUT: analysis_pb2.REACH_KIND_FILTERED_OUT,
}
EVER = datetime(1, 1, 1, tzinfo=UTC)
UNREADABLE = FileEvidence("")
_MISSING = "is missing; set it"


def simulation_from_proto(request: analysis_pb2.SimulateRequest) -> SimulationWanted:
    """Read an attempt that nobody made; what cannot be read of it stands among its flaws."""
    reader = _Reader(request)
    return SimulationWanted(
        device=request.device,
        user=reader.filled("user", request.user),
        administrator=request.administrator,
        trigger=_TRIGGERS.get(request.trigger, Trigger.REQUEST),
        platform=PLATFORMS.get(request.platform),
        file=reader.file(request),
        arguments=tuple(request.arguments),
        parent=reader.parent(request),
        now=reader.time(request, "now"),
        policy_confirmed=reader.time(request, "policy_confirmed"),
        grants=tuple(reader.grant(grant, f"grants[{number}]") for number, grant in enumerate(request.grants)),
        overlay=overlay_from_proto(request.draft),
        flaws=tuple(reader.flaws),
    )


def reach_wanted_from_proto(request: analysis_pb2.GetEffectivePolicyRequest) -> ReachWanted:
    """Read of whom it is asked what applies."""
    return ReachWanted(
        device=request.device,
        user=request.user,
        overlay=overlay_from_proto(request.draft),
        with_others=request.with_others,
        flaws=tuple(_Reader(request).flaws),
    )


def simulated_to_proto(simulated: Simulated) -> analysis_pb2.SimulateResponse:
    """Write what would happen."""
    return analysis_pb2.SimulateResponse(
        decision=encode_decision(simulated.decision),
        settings=_settings(simulated.settings),
        applied=simulated.applied,
    )


def effective_policy_to_proto(found: EffectivePolicy) -> analysis_pb2.GetEffectivePolicyResponse:
    """Write what applies, and why."""
    return analysis_pb2.GetEffectivePolicyResponse(
        device_id=found.device.device_id,
        device_name=found.device.name,
        device_groups=found.device_groups,
        user_groups=found.user_groups,
        settings=_settings(found.settings),
        policies=map(_reach, found.policies),
        withheld_because=found.withheld_because,
    )


class _Reader:
    """Collect the flaws of a request while it is read; its draft is read elsewhere."""

    def __init__(self, request: Message) -> None:
        self.flaws = flaws_beside_draft(request)

    def filled(self, path: str, text: str) -> str:
        """Read a text that has to be there."""
        if not text:
            self._note(path, _MISSING)
        return text

    def file(self, request: analysis_pb2.SimulateRequest) -> FileEvidence:
        """Read what is known of the file."""
        if not request.HasField("file"):
            self._note("file", _MISSING)
            return UNREADABLE
        faults = list(evidence_faults(request.file))
        for path, fault in faults:
            self._note(path, fault)
        return UNREADABLE if faults else decode_evidence(request.file)

    def parent(self, request: analysis_pb2.SimulateRequest) -> Parent | None:
        """Read the rule that elevated the parent; a child alone has one."""
        child = request.trigger == event_pb2.TRIGGER_CHILD
        if not request.HasField("parent"):
            if child:
                self._note("parent", "is missing; name the policy and the rule that elevated the parent")
            return None
        if not child:
            self._note("parent", "only goes with TRIGGER_CHILD; leave it out")
        parent = request.parent
        return Parent(self.filled("parent.policy", parent.policy), self.filled("parent.rule", parent.rule))

    def grant(self, message: document_pb2.Grant, place: str) -> Grant:
        """Read an approval; one that does not say since when has been in force for ever."""
        self.filled(f"{place}.id", message.id)
        self.filled(f"{place}.user", message.user)
        self.filled(f"{place}.device", message.device)
        if is_sha256(message.sha256) is None:
            self._note(f"{place}.sha256", "must be a SHA-256, 64 hexadecimal digits")
        if not message.HasField("expires"):
            self._note(f"{place}.expires", _MISSING)
        return Grant(
            id=message.id,
            user=message.user,
            device=message.device,
            sha256=message.sha256,
            arguments=tuple(message.arguments.values) if message.HasField("arguments") else None,
            not_before=self._time(message, "not_before", place) or EVER,
            expires=self._time(message, "expires", place) or EVER,
            uses_left=message.uses_left if message.HasField("uses_left") else None,
        )

    def time(self, request: analysis_pb2.SimulateRequest, field: str) -> datetime | None:
        """Read a time of the request that may be absent."""
        return self._time(request, field, "")

    def _time(self, message: Message, field: str, place: str) -> datetime | None:
        if not message.HasField(field):
            return None
        try:
            return time_from_proto(f"{place}.{field}" if place else field, getattr(message, field))
        except InvalidError as error:
            self.flaws.extend(error.problems)
            return None

    def _note(self, path: str, message: str) -> None:
        self.flaws.append(Problem(path, message))


def _settings(found: EffectiveSettings) -> analysis_pb2.EffectiveSettings:
    return analysis_pb2.EffectiveSettings(
        settings=None if found.settings is None else encode_settings(found.settings),
        origins=map(_origin, found.origins),
    )


def _origin(origin: Origin) -> analysis_pb2.SettingOrigin:
    return analysis_pb2.SettingOrigin(
        setting=origin.setting, value=origin.value, policies=origin.policies, conflicting=origin.conflicting
    )


def _reach(reach: Reach) -> analysis_pb2.PolicyReach:
    return analysis_pb2.PolicyReach(
        policy=policies_pb2.ObjectRef(kind=kind_of(reach.kind).document, name=reach.name),
        revision=reach.revision,
        applies=reach.applies,
        user_targeted=reach.user_targeted,
        reasons=map(_reason, reach.reasons),
    )


def _reason(told: ToldReason) -> analysis_pb2.ReachReason:
    reason = told.reason
    return analysis_pb2.ReachReason(
        kind=_PARTS[reason.part], group=reason.group, through=reason.through, filter=reason.filter, text=told.text
    )
