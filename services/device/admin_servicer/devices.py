"""Devices and enrolment tokens: decode, call one use case, encode."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from epm.device.v1 import devices_pb2, devices_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.caller import current_caller, current_permit
from services._chassis.permits import Permit
from services._chassis.scope_tags import tags_of
from services.device.codec import devices as codec
from services.device.codec.history import entry_to_proto
from services.device.codec.users import user_to_proto
from services.device.ports import Store
from services.device.usecases import devices, history, leaving, tokens, users
from services.device.usecases.visibility import Standing


class DeviceServicer(devices_pb2_grpc.DeviceServiceServicer):
    """Answer `epm.device.v1.DeviceService`."""

    def __init__(
        self,
        store: Store,
        access: AccessControl,
        *,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        new_secret: Callable[[], str],
    ) -> None:
        self._store = store
        self._access = access
        self._now = now
        self._new_id = new_id
        self._new_secret = new_secret

    async def CreateEnrolmentToken(
        self, request: devices_pb2.CreateEnrolmentTokenRequest, context: Any
    ) -> devices_pb2.CreateEnrolmentTokenResponse:
        """Create an enrolment token and show its text this once."""
        secret = self._new_secret()
        token = await tokens.create_token(
            self._store,
            codec.token_draft_from_proto(request.enrolment_token),
            permit=current_permit(),
            standing=self._standing(),
            now=self._now(),
            token_id=self._new_id(),
            secret=secret,
        )
        return devices_pb2.CreateEnrolmentTokenResponse(enrolment_token=codec.token_to_proto(token), secret=secret)

    async def ListEnrolmentTokens(
        self, request: devices_pb2.ListEnrolmentTokensRequest, context: Any
    ) -> devices_pb2.ListEnrolmentTokensResponse:
        """List enrolment tokens, newest first."""
        page = await tokens.list_tokens(
            self._store, permit=current_permit(), page_size=request.page_size, page_token=request.page_token
        )
        return devices_pb2.ListEnrolmentTokensResponse(
            enrolment_tokens=map(codec.token_to_proto, page.items), next_page_token=page.next_token
        )

    async def RevokeEnrolmentToken(
        self, request: devices_pb2.RevokeEnrolmentTokenRequest, context: Any
    ) -> devices_pb2.RevokeEnrolmentTokenResponse:
        """Revoke an enrolment token at once."""
        token = await tokens.revoke_token(self._store, request.token_id, permit=current_permit(), now=self._now())
        return devices_pb2.RevokeEnrolmentTokenResponse(enrolment_token=codec.token_to_proto(token))

    async def GetDevice(self, request: devices_pb2.GetDeviceRequest, context: Any) -> devices_pb2.GetDeviceResponse:
        """Return a device, its groups, and what filters see of it."""
        shown = await devices.get_device(
            self._store, request.device, permit=current_permit(), standing=self._standing()
        )
        return devices_pb2.GetDeviceResponse(device=codec.shown_to_proto(shown))

    async def ListDevices(
        self, request: devices_pb2.ListDevicesRequest, context: Any
    ) -> devices_pb2.ListDevicesResponse:
        """List devices by name."""
        page = await devices.list_devices(
            self._store, permit=current_permit(), page_size=request.page_size, page_token=request.page_token
        )
        return devices_pb2.ListDevicesResponse(
            devices=map(codec.device_to_proto, page.items), next_page_token=page.next_token
        )

    async def UpdateDevice(
        self, request: devices_pb2.UpdateDeviceRequest, context: Any
    ) -> devices_pb2.UpdateDeviceResponse:
        """Replace what administrators say of a device."""
        change = codec.change_from_proto(request.device)
        device = await devices.update_device(
            self._store, change, permit=current_permit(), standing=self._standing(), now=self._now()
        )
        return devices_pb2.UpdateDeviceResponse(device=codec.device_to_proto(device))

    async def RetireDevice(
        self, request: devices_pb2.RetireDeviceRequest, context: Any
    ) -> devices_pb2.RetireDeviceResponse:
        """Take a device's credentials away."""
        device = await leaving.retire_device(
            self._store, request.device_id, reason=request.reason, permit=current_permit(), now=self._now()
        )
        return devices_pb2.RetireDeviceResponse(device=codec.device_to_proto(device))

    async def BanDevice(self, request: devices_pb2.BanDeviceRequest, context: Any) -> devices_pb2.BanDeviceResponse:
        """Keep a device's name and keys from enrolling."""
        device = await leaving.ban_device(
            self._store, request.device_id, reason=request.reason, permit=current_permit(), now=self._now()
        )
        return devices_pb2.BanDeviceResponse(device=codec.device_to_proto(device))

    async def LiftDeviceBan(
        self, request: devices_pb2.LiftDeviceBanRequest, context: Any
    ) -> devices_pb2.LiftDeviceBanResponse:
        """Have a banned device retired."""
        device = await leaving.lift_ban(
            self._store, request.device_id, reason=request.reason, permit=current_permit(), now=self._now()
        )
        return devices_pb2.LiftDeviceBanResponse(device=codec.device_to_proto(device))

    async def DeleteDevice(
        self, request: devices_pb2.DeleteDeviceRequest, context: Any
    ) -> devices_pb2.DeleteDeviceResponse:
        """Remove a device."""
        await leaving.delete_device(
            self._store, request.device_id, reason=request.reason, permit=current_permit(), now=self._now()
        )
        return devices_pb2.DeleteDeviceResponse()

    async def ClearSuspectedClone(
        self, request: devices_pb2.ClearSuspectedCloneRequest, context: Any
    ) -> devices_pb2.ClearSuspectedCloneResponse:
        """Say that a device which looked like two is one again."""
        device = await devices.clear_suspected_clone(
            self._store, request.device_id, reason=request.reason, permit=current_permit(), now=self._now()
        )
        return devices_pb2.ClearSuspectedCloneResponse(device=codec.device_to_proto(device))

    async def ListDeviceHistory(
        self, request: devices_pb2.ListDeviceHistoryRequest, context: Any
    ) -> devices_pb2.ListDeviceHistoryResponse:
        """List what became of a device, newest first."""
        page = await history.list_history(
            self._store,
            request.device,
            permit=current_permit(),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return devices_pb2.ListDeviceHistoryResponse(
            entries=map(entry_to_proto, page.items), next_page_token=page.next_token
        )

    async def ListUsers(self, request: devices_pb2.ListUsersRequest, context: Any) -> devices_pb2.ListUsersResponse:
        """List users by name."""
        page = await users.list_users(
            self._store,
            permit=current_permit(),
            standing=self._standing(),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return devices_pb2.ListUsersResponse(users=map(user_to_proto, page.items), next_page_token=page.next_token)

    def _standing(self) -> Standing:
        return Standing(self._check, self._excess, partial(tags_of, self._access))

    def _excess(self, group: str) -> Sequence[str]:
        caller = current_caller()
        return self._access.access().excess_over(group, caller.principal, self._now(), caller.groups)

    def _check(self, right: str) -> Permit:
        caller = current_caller()
        return self._access.check(caller.principal, right, caller.groups)
