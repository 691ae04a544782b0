"""What came in otherwise than it should, for administrators: decode, ask, encode."""

from collections.abc import Callable
from typing import Any

import grpc.aio

from epm.reporting.v1 import intake_pb2, intake_pb2_grpc
from services._chassis.caller import current_permit
from services.reporting import intake
from services.reporting.codec import intake as codec
from services.reporting.codec.exported import statement_to_proto
from services.reporting.intake import Retries
from services.reporting.model.intake import IntakeQuestion
from services.reporting.ports import Intake
from services.reporting.turns import Turns, in_turn

Names = Callable[[str], str]
"""Returns the name of a device today; empty where it is not known any longer."""


class IntakeServicer(intake_pb2_grpc.IntakeServiceServicer):
    """Answer `epm.reporting.v1.IntakeService`."""

    def __init__(self, store: Intake, retries: Retries, names: Names, *, turns: Turns | None = None) -> None:
        self._store = store
        self._retries = retries
        self._names = names
        self.turns = turns or Turns()

    @in_turn
    async def ListDeadLetters(
        self, request: intake_pb2.ListDeadLettersRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> intake_pb2.ListDeadLettersResponse:
        """List events that could not be stored, newest first."""
        page = await intake.list_dead_letters(
            self._store, _question(request.filter), page_size=request.page_size, page_token=request.page_token
        )
        letters = [codec.letter_to_proto(letter, self._names(letter.device_id)) for letter in page.items]
        return intake_pb2.ListDeadLettersResponse(dead_letters=letters, next_page_token=page.next_token)

    @in_turn
    async def GetDeadLetter(
        self, request: intake_pb2.GetDeadLetterRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> intake_pb2.GetDeadLetterResponse:
        """Return one of them whole."""
        found = await intake.get_dead_letter(self._store, request.id, current_permit().visible_tags())
        return codec.body_to_proto(found, self._names(found.letter.device_id))

    async def RetryDeadLetters(
        self, request: intake_pb2.RetryDeadLettersRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> intake_pb2.RetryDeadLettersResponse:
        """Try again to store events."""
        done = await self._retries.retry(request.ids, current_permit().visible_tags())
        remaining = [codec.letter_to_proto(letter, self._names(letter.device_id)) for letter in done.remaining]
        return intake_pb2.RetryDeadLettersResponse(stored=done.stored, remaining=remaining)

    @in_turn
    async def ListGaps(
        self, request: intake_pb2.ListGapsRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> intake_pb2.ListGapsResponse:
        """List places of journals that never came, newest notice first."""
        page = await intake.list_gaps(
            self._store, _question(request.filter), page_size=request.page_size, page_token=request.page_token
        )
        gaps = [codec.gap_to_proto(gap, self._names(gap.device_id)) for gap in page.items]
        return intake_pb2.ListGapsResponse(gaps=gaps, next_page_token=page.next_token)

    @in_turn
    async def ListDiagnostics(
        self, request: intake_pb2.ListDiagnosticsRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> intake_pb2.ListDiagnosticsResponse:
        """List what agents said of their own health, newest first."""
        page = await intake.list_diagnostics(
            self._store,
            _question(request.filter),
            request.codes,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return intake_pb2.ListDiagnosticsResponse(
            diagnostics=map(statement_to_proto, page.items), next_page_token=page.next_token
        )


def _question(message: intake_pb2.IntakeFilter) -> IntakeQuestion:
    return codec.intake_question_from_proto(message, current_permit().visible_tags())
