"""Why a decision came out as it did, in words for people.

The value of a cause is its sentence; `{policy}`, `{rule}` and `{detail}` are filled in when somebody reads it, so
that deciding stays cheap.
"""

from enum import Enum


class Cause(Enum):
    """The one reason behind a decision."""

    NOT_ACTIVE = "endpoint privilege management is not active for this user on this device"
    ADMINISTRATOR = "the user is an administrator of this device, whose elevations are not managed"
    NOT_EVALUABLE = "the file cannot be evaluated: {detail}"
    STALE = "the policy was last confirmed too long ago, so nothing is elevated until the device connects"
    DENIED = 'rule "{rule}" of policy "{policy}" denies this file'
    ARGUMENTS = 'rule "{rule}" of policy "{policy}" does not allow these arguments'
    AUTOMATIC = 'rule "{rule}" of policy "{policy}" elevates this file without asking'
    USER_CONFIRMED = 'rule "{rule}" of policy "{policy}" elevates this file after the user confirms'
    CURRENT_USER = 'rule "{rule}" of policy "{policy}" elevates this file as the current user after authentication'
    SUPPORT_APPROVED = 'rule "{rule}" of policy "{policy}" asks for an approval by support'
    GRANTED_RULE = 'approval "{detail}" allows what rule "{rule}" of policy "{policy}" asks support to approve'
    GRANTED = 'approval "{detail}" allows what the default response asks support to approve'
    DEFAULT_DENY = "no rule matches and the default response denies"
    DEFAULT_NOT_CONFIGURED = "no rule matches and no default response is configured, which denies"
    DEFAULT_CONFIRM = "no rule matches and the default response asks the user to confirm"
    DEFAULT_APPROVAL = "no rule matches and the default response asks for an approval by support"
    NO_AUTOMATIC_RULE = "an ordinary start, and no automatic rule decides it"
    CHILD_ALLOWED = 'rule "{rule}" of policy "{policy}" elevates the child processes of what it elevates'
    CHILD_DENIED = 'rule "{rule}" of policy "{policy}" elevates no child processes'
    CHILD_WITHOUT_RULE = "a child process needs a rule of its own, and none matches"
    PARENT_UNKNOWN = "the rule that elevated the parent process is not in the policy: {detail}"


def unnamed(cause: Cause) -> str:
    """Give the sentence of a cause for somebody who may not see the policy that decided."""
    return cause.value.replace('rule "{rule}" of policy "{policy}"', "a rule that you may not see")
