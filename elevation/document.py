"""The policy document of one device: what the server offers and the agent decides by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from elevation.checks import MOST_RULES, check_rules_policy
from elevation.compiled import CompileError
from elevation.index import CompiledPolicy, compile_policy
from elevation.model import Certificate, Grant, Problem, ReusableCertificate, RulesPolicy, Settings


@dataclass(frozen=True, slots=True)
class UserPolicy:
    """What applies to one user: merged settings and the names of the rules policies, by what they are targeted at."""

    user: str
    """Empty: any user who is not listed."""
    settings: Settings | None
    """None: no settings policy applies, so nothing is active."""
    device_targeted: tuple[str, ...] = ()
    user_targeted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """Everything that one device decides by."""

    device_id: str
    device_name: str
    any_user: UserPolicy
    users: tuple[UserPolicy, ...] = ()
    rules_policies: tuple[RulesPolicy, ...] = ()
    revisions: Mapping[str, int] = field(default_factory=dict)
    """Revision of each rules policy by its name."""
    certificates: tuple[ReusableCertificate, ...] = ()
    grants: tuple[Grant, ...] = ()
    deprovision_time: datetime | None = None
    """None: the component stays."""

    def user_policy(self, user: str) -> UserPolicy:
        """Give what applies to a user."""
        return next((found for found in self.users if found.user == user), self.any_user)


def check_document(document: PolicyDocument) -> list[Problem]:
    """Find what an agent has to refuse: rules that no checked policy holds, and names that lead nowhere."""
    problems = [
        Problem(f"rulesPolicies[{number}].{problem.path}", problem.message, problem.check)
        for number, policy in enumerate(document.rules_policies)
        for problem in check_rules_policy(policy, most_rules=MOST_RULES)
    ]
    users = [document.any_user, *document.users]
    for user in users:
        try:
            compile_document(document, user)
        except CompileError as error:
            problems.append(Problem(f'users["{user.user}"]', str(error)))
    return problems


def compile_document(document: PolicyDocument, user: UserPolicy) -> CompiledPolicy:
    """Compile what applies to a user of the document; raise CompileError where it names what is not there."""
    policies = {policy.name: policy for policy in document.rules_policies}
    certificates: dict[str, Certificate] = {found.name: found.certificate for found in document.certificates}
    named = [*((name, False) for name in user.device_targeted), *((name, True) for name in user.user_targeted)]
    missing = [name for name, _ in named if name not in policies]
    if missing:
        raise CompileError(f'rules policy "{missing[0]}" is not in the document')
    return compile_policy(
        user.settings, [(policies[name], user_targeted) for name, user_targeted in named], certificates
    )
