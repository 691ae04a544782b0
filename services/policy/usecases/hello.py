"""What a device says first on its policy stream."""

from dataclasses import dataclass

from services._chassis.errors import DeniedError, InvalidError, Problem
from services.policy.model.delivery import LARGEST_REVISION

LONGEST_RUN_ID = 64
MOST_KEYS = 32
LONGEST_KEY_ID = 64
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Hold what a device says first."""

    device_id: str = ""
    agent_version: str = ""
    capabilities: frozenset[str] = frozenset()
    revision: int = 0
    """Revision of the document that it holds; 0: none."""
    sha256: bytes = b""
    run_id: str = ""
    """Run of the agent; empty: not told."""
    key_ids: tuple[str, ...] = ()
    """Keys by which the device verifies policy; empty: not told."""


def check_hello(hello: Hello, device_id: str) -> None:
    """Refuse a hello that cannot be right. Raises DeniedError for another device, InvalidError with all problems."""
    if hello.device_id not in ("", device_id):
        raise DeniedError("hello names another device than the certificate; enrol again", reason="OTHER_DEVICE")
    problems: list[Problem] = []
    if hello.revision > LARGEST_REVISION:
        problems.append(Problem("hello.revision", f"must be at most {LARGEST_REVISION}"))
    if len(hello.sha256) not in (0, _DIGEST_BYTES):
        problems.append(Problem("hello.document_sha256", f"must have {_DIGEST_BYTES} bytes, or none"))
    if bool(hello.revision) != bool(hello.sha256):
        problems.append(Problem("hello.revision", "must come with document_sha256, and neither without the other"))
    problems += _introduction_problems(hello)
    if problems:
        raise InvalidError(problems)


def _introduction_problems(hello: Hello) -> list[Problem]:
    problems: list[Problem] = []
    if len(hello.run_id) > LONGEST_RUN_ID or not _is_plain(hello.run_id):
        problems.append(Problem("hello.run_id", f"must be at most {LONGEST_RUN_ID} printable ASCII characters"))
    if len(hello.key_ids) > MOST_KEYS or any(len(key) > LONGEST_KEY_ID or not _is_plain(key) for key in hello.key_ids):
        remedy = f"must be at most {MOST_KEYS} names of at most {LONGEST_KEY_ID} printable ASCII characters"
        problems.append(Problem("hello.policy_key_ids", remedy))
    return problems


def _is_plain(text: str) -> bool:
    return text.isascii() and (not text or text.isprintable())
