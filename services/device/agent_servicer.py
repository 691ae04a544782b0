"""Answer devices and services: enrolment on the public door, check-ins and the directory on the mesh door."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration

from epm.device.v1 import agent_pb2, agent_pb2_grpc, lifecycle_pb2, lifecycle_pb2_grpc
from services._chassis.auth import digest_of
from services._chassis.caller import current_caller
from services._chassis.times import time_to_proto
from services.device.codec.devices import EPM_STATES, component_from_proto, facts_from_proto
from services.device.codec.directory import reports_from_proto, used_from_proto
from services.device.codec.sightings import sightings_from_proto
from services.device.model.installation import Installation, certificate_of
from services.device.model.lifecycle import check_in_wait
from services.device.ports import Store
from services.device.streams import DirectoryStreams
from services.device.usecases.bounds import Bounds
from services.device.usecases.certificates import FLAG, Vigilance, admit
from services.device.usecases.check_in import check_in
from services.device.usecases.enrolment import Enrolment, enrol
from services.device.usecases.lifecycle import report_settings
from services.device.usecases.reach import newest_policy_revision, report_used_groups
from services.device.usecases.renewal import Renewal, renew
from services.device.usecases.sightings import report_sightings

Now = Callable[[], datetime]


class EnrolmentServicer(agent_pb2_grpc.EnrolmentServiceServicer):
    """Answer `epm.device.v1.EnrolmentService`."""

    def __init__(
        self, store: Store, installation: Installation, *, bounds: Bounds, now: Now, new_id: Callable[[], str]
    ) -> None:
        self._store = store
        self._installation = installation
        self._bounds = bounds
        self._now = now
        self._new_id = new_id

    async def Enroll(self, request: agent_pb2.EnrollRequest, context: Any) -> agent_pb2.EnrollResponse:
        """Make a device of the caller."""
        asked = Enrolment(
            token_digest=digest_of(request.token),
            csr=request.csr_pem,
            device_name=request.device_name,
            facts=facts_from_proto(request.facts),
        )
        installation = self._installation
        enrolled = await enrol(
            self._store, asked, installation, bounds=self._bounds, now=self._now(), new_id=self._new_id()
        )
        return agent_pb2.EnrollResponse(
            device_id=enrolled.device.device_id,
            certificate_pem=enrolled.certificate,
            ca_pem=installation.authority.pem.decode("ascii"),
            trust_domain=installation.trust_domain,
            policy_address=installation.policy_address,
            reporting_address=installation.reporting_address,
            device_address=installation.device_address,
            policy_keys=[
                agent_pb2.PolicyKey(key_id=key.key_id, public_key=key.public_key) for key in installation.policy_keys
            ],
        )


class DeviceAgentServicer(agent_pb2_grpc.DeviceAgentServiceServicer):
    """Answer `epm.device.v1.DeviceAgentService`."""

    def __init__(
        self,
        store: Store,
        installation: Installation,
        *,
        now: Now,
        check_in_interval: timedelta,
        bounds: Bounds,
        vigilance: Vigilance = FLAG,
    ) -> None:
        self._store = store
        self._installation = installation
        self._now = now
        self._bounds = bounds
        self._check_in_interval = check_in_interval
        self._vigilance = vigilance

    async def CheckIn(self, request: agent_pb2.CheckInRequest, context: Any) -> agent_pb2.CheckInResponse:
        """Note that the device of the certificate is alive."""
        now = self._now()
        facts = facts_from_proto(request.facts)
        caller = current_caller()
        await admit(self._store, caller.device_id, caller.certificate_serial, vigilance=self._vigilance, now=now)
        gone = component_from_proto(request.component)
        device = await check_in(
            self._store,
            caller.device_id,
            request.device_id,
            facts,
            component_gone=gone,
            bounds=self._bounds,
            now=now,
        )
        wait = Duration()
        wait.FromTimedelta(check_in_wait(device.lifecycle, now=now, interval=self._check_in_interval))
        return agent_pb2.CheckInResponse(
            server_time=time_to_proto(now), next_check_in=wait, epm_state=EPM_STATES[device.lifecycle.state]
        )

    async def RenewCertificate(
        self, request: agent_pb2.RenewCertificateRequest, context: Any
    ) -> agent_pb2.RenewCertificateResponse:
        """Sign a new key of the device of the certificate."""
        caller = current_caller()
        asked = Renewal(device_id=caller.device_id, csr=request.csr_pem, shown=certificate_of(caller.certificate))
        signed = await renew(
            self._store,
            asked,
            self._installation,
            vigilance=self._vigilance,
            bounds=self._bounds,
            now=self._now(),
        )
        return agent_pb2.RenewCertificateResponse(
            certificate_pem=signed.pem, ca_pem=self._installation.authority.pem.decode("ascii")
        )


class DirectoryServicer(lifecycle_pb2_grpc.DirectoryServiceServicer):
    """Answer `epm.device.v1.DirectoryService`."""

    def __init__(
        self,
        store: Store,
        streams: DirectoryStreams,
        *,
        now: Now,
        deprovision_after: timedelta,
        vigilance: Vigilance = FLAG,
    ) -> None:
        self._store = store
        self._streams = streams
        self._now = now
        self._deprovision_after = deprovision_after
        self._vigilance = vigilance

    async def WatchDirectory(
        self, request: lifecycle_pb2.WatchDirectoryRequest, context: Any
    ) -> AsyncIterator[lifecycle_pb2.WatchDirectoryResponse]:
        """Stream the directory, every change of it, and heartbeats."""
        async for message in self._streams.follow(request.revision):
            yield message

    async def ReportSettingsStates(
        self, request: lifecycle_pb2.ReportSettingsStatesRequest, context: Any
    ) -> lifecycle_pb2.ReportSettingsStatesResponse:
        """Take in what the policy service worked out."""
        reports = reports_from_proto(request.states)
        await report_settings(self._store, reports, now=self._now(), deprovision_after=self._deprovision_after)
        return lifecycle_pb2.ReportSettingsStatesResponse(newest_revision=await newest_policy_revision(self._store))

    async def ReportUsedGroups(
        self, request: lifecycle_pb2.ReportUsedGroupsRequest, context: Any
    ) -> lifecycle_pb2.ReportUsedGroupsResponse:
        """Take in which groups policies are assigned to."""
        await report_used_groups(self._store, used_from_proto(request))
        return lifecycle_pb2.ReportUsedGroupsResponse(newest_revision=await newest_policy_revision(self._store))

    async def ReportSightings(
        self, request: lifecycle_pb2.ReportSightingsRequest, context: Any
    ) -> lifecycle_pb2.ReportSightingsResponse:
        """Take in what was seen of devices on their streams."""
        sightings = sightings_from_proto(request.sightings)
        by = current_caller().service
        await report_sightings(self._store, sightings, by=by, vigilance=self._vigilance, now=self._now())
        return lifecycle_pb2.ReportSightingsResponse()
