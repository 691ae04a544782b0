"""What happens in the demo, attempt by attempt, and what must come of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from epmctl.demo.samples import Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One attempt on one device, and the decision that is expected."""

    about: str
    device: str
    user: str
    file: Path
    outcome: str
    source: str
    result: str
    rule: str | None = None
    arguments: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def differs(self, answer: Mapping[str, Any]) -> list[str]:
        """Say where the agent's answer is not the expected one; empty if it is."""
        decision = answer["decision"]
        pairs = (
            ("outcome", self.outcome, decision["outcome"]),
            ("source", self.source, decision["source"]),
            ("rule", self.rule, decision["rule"]),
            ("result", self.result, answer["result"]),
        )
        return [f"{name} is {found}, expected {wanted}" for name, wanted, found in pairs if wanted != found]


def online_steps(samples: Samples) -> list[Step]:
    """Give the attempts that are made while the server runs."""
    return [*_windows_steps(samples.files), *_vendor_steps(samples), *_linux_steps(samples.files)]


def offline_steps(samples: Samples) -> list[Step]:
    """Give the attempts that are made while the server is stopped."""
    return [
        Step(
            about="AUTOMATIC, while the server is stopped",
            device="lx-1",
            user="carol",
            file=samples.files["true"],
            outcome="ELEVATE",
            source="RULE",
            rule="always-true",
            result="ELEVATED",
        ),
        Step(
            about="denied by rule, while the server is stopped",
            device="ws-1",
            user="alice",
            file=samples.files["game"],
            outcome="DENY",
            source="RULE",
            rule="no-games",
            result="DENIED",
        ),
    ]


def _windows_steps(files: Mapping[str, Path]) -> list[Step]:
    return [*_confirmed_steps(files), *_other_rule_steps(files), *_steps_without_rule(files)]


def _confirmed_steps(files: Mapping[str, Path]) -> list[Step]:
    by_rule = partial(Step, device="ws-1", user="alice", file=files["setup"], source="RULE", rule="launcher-setup")
    return [
        by_rule(
            about="USER_CONFIRMED with a justification",
            arguments=("/silent",),
            options=("--answer-confirm", "--justification", "new laptop, ticket 4711"),
            outcome="PROMPT",
            result="ELEVATED",
        ),
        by_rule(
            about="the same, and the user thinks better of it",
            options=("--answer-decline",),
            outcome="PROMPT",
            result="CANCELLED",
        ),
        by_rule(
            about="the same with arguments that the rule does not list",
            arguments=("/silent", "/uninstall"),
            outcome="DENY",
            result="DENIED",
        ),
    ]


def _other_rule_steps(files: Mapping[str, Path]) -> list[Step]:
    by_rule = partial(Step, device="ws-1", user="alice", source="RULE")
    return [
        by_rule(
            about="AUTOMATIC, an ordinary start",
            file=files["launcher"],
            options=("--trigger", "LAUNCH"),
            outcome="ELEVATE",
            rule="simple-launcher",
            result="ELEVATED",
        ),
        by_rule(
            about="CURRENT_USER: owes an authentication that nothing here can take",
            file=files["console"],
            options=("--answer-confirm",),
            outcome="PROMPT",
            rule="admin-console",
            result="REFUSED",
        ),
        by_rule(
            about="SUPPORT_APPROVED",
            file=files["driver"],
            outcome="REQUEST_APPROVAL",
            rule="driver-update",
            result="APPROVAL_REQUIRED",
        ),
        by_rule(about="DENY", file=files["game"], outcome="DENY", rule="no-games", result="DENIED"),
    ]


def _steps_without_rule(files: Mapping[str, Path]) -> list[Step]:
    return [
        Step(
            about="an administrator, whom EPM does not manage",
            device="ws-2",
            user="dora",
            file=files["driver"],
            options=("--administrator",),
            outcome="NOT_MANAGED",
            source="ADMINISTRATOR",
            result="NOT_MANAGED",
        ),
        Step(
            about="no rule: the default response denies",
            device="ws-2",
            user="bob",
            file=files["vendor"],
            outcome="DENY",
            source="DEFAULT_RESPONSE",
            result="DENIED",
        ),
    ]


def _vendor_steps(samples: Samples) -> list[Step]:
    if not samples.signed:
        return []
    return [
        Step(
            about="the same file, signed by the vendor",
            device="ws-2",
            user="bob",
            file=samples.files["signed"],
            options=("--answer-confirm",),
            outcome="PROMPT",
            source="RULE",
            rule="vendor-setup",
            result="ELEVATED",
        )
    ]


def _linux_steps(files: Mapping[str, Path]) -> list[Step]:
    return [
        Step(
            about="USER_CONFIRMED, by a folder that only root can write",
            device="lx-1",
            user="carol",
            file=files["id"],
            arguments=("-u",),
            options=("--answer-confirm",),
            outcome="PROMPT",
            source="RULE",
            rule="who-am-i",
            result="ELEVATED",
        ),
        Step(
            about="its child, which needs a rule of its own and has one",
            device="lx-1",
            user="carol",
            file=files["true"],
            options=("--trigger", "CHILD", "--parent", "linux-tools/who-am-i"),
            outcome="ELEVATE",
            source="RULE",
            rule="always-true",
            result="ELEVATED",
        ),
        Step(
            about="somebody who is not in the group that the rules are for",
            device="lx-1",
            user="bob",
            file=files["true"],
            outcome="DENY",
            source="DEFAULT_RESPONSE",
            result="DENIED",
        ),
    ]
