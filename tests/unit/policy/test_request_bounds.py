"""A message of megabytes is refused by its size: nobody looks at all that it holds."""

import pytest

from epm.policy.v1 import requests_pb2
from services._chassis.errors import InvalidError, Problem
from services.policy.codec.requests import submission_from_proto, uses_from_proto
from services.policy.model.request_listing import read_request_filter
from services.policy.model.request_texts import reason_problems
from services.policy.model.requests import LONGEST_TEXT
from services.policy.usecases.requests.asking import LARGEST_CERTIFICATE, LARGEST_CHAIN, MOST_ARGUMENTS
from services.policy.usecases.requests.using import MOST_USES_TOLD
from tests.unit.policy.test_request_asking import APPROVING, Service


@pytest.mark.parametrize("number", [0, MOST_USES_TOLD + 1, 1_000_000])
def test_too_many_uses_are_one_problem_however_many_they_are(number: int) -> None:
    told = requests_pb2.ReportGrantUsesRequest.FromString(b"\x0a\x00" * number)
    assert uses_from_proto(told) == ((), (Problem("uses", f"must be 1 to {MOST_USES_TOLD}"),))


async def test_too_many_arguments_are_refused_and_not_all_read() -> None:
    asked = requests_pb2.SubmitElevationRequestRequest.FromString(b"\x3a\x00" * 1_000_000)
    wanted = submission_from_proto(asked)
    assert len(wanted.arguments) == MOST_ARGUMENTS + 1
    with pytest.raises(InvalidError, match=f"arguments: must be at most {MOST_ARGUMENTS}"):
        await Service(APPROVING).submit(arguments=wanted.arguments)


def test_a_reason_that_is_too_long_is_not_looked_through() -> None:
    class Watched(str):
        __slots__ = ()

        def __iter__(self):  # type: ignore[no-untyped-def] # noqa: ANN204
            raise AssertionError("somebody looked at all of it")

    found = list(reason_problems("reason", Watched("\t" + "x" * LONGEST_TEXT), required=True))
    assert [problem.message[:8] for problem in found] == ["has 257 ", "holds a "]


def test_a_filter_with_a_nul_is_refused_and_not_asked_of_a_database() -> None:
    assert read_request_filter('user = "a\0b"') == Problem("filter", "holds a NUL; remove it")


def test_certificates_that_are_too_long_together_are_refused_and_not_parsed() -> None:
    fitting = [b"x" * LARGEST_CERTIFICATE] * (LARGEST_CHAIN // LARGEST_CERTIFICATE)
    asked = requests_pb2.SubmitElevationRequestRequest(certificates=[*fitting, b"x"])
    message = f"have {LARGEST_CHAIN + 1} bytes together and may have {LARGEST_CHAIN}; leave out the last issuers"
    about = [flaw for flaw in submission_from_proto(asked).flaws if flaw.field.startswith("certificates")]
    assert about == [Problem("certificates", message)]
    asked.certificates.pop()
    assert not any(flaw.field == "certificates" for flaw in submission_from_proto(asked).flaws)
