"""By what the policy of today denies a file, whatever is approved."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """Name the rule; empty where the default response denies it, and for who may not see its policy.

    The device alone knows whether it trusts the signature, and whether root alone can write the file: where the denial hangs on that,
    it says so.
    """

    policy: str = ""
    rule: str = ""
    default_response: bool = False
    signature_trusted: bool = False
    root_only: bool = False
