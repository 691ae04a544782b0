"""Watch one agent and what it is told, and say which laws were broken. See `fleet.model.Law`."""

from fleet.model import Holding, Law, Violation


class Witness:
    """See everything that passes between an agent and the server. Knows no time and no transport."""

    def __init__(self, name: str, device_id: str) -> None:
        self._name = name
        self._device_id = device_id
        self._floor = Holding()
        self._before = Holding()
        self._barred = False
        self._sent_away = False
        self.violations: list[Violation] = []

    def opened(self, *, by_script: bool) -> None:
        """See the agent open a stream; `by_script`: because the script made it."""
        if self._barred and not by_script:
            self._broken(Law.GO_AWAY_OBEYED, "opened a stream after the server had asked it not to come back")
        self._barred = self._sent_away = False

    def spoke(self) -> None:
        """See the agent say something."""
        if self._sent_away:
            self._broken(Law.GO_AWAY_OBEYED, "spoke on a stream after the server had said go away")

    def sent_away(self, *, comes_back: bool) -> None:
        """See the server say go away."""
        self._sent_away, self._barred = True, not comes_back

    def offered(self, offered: Holding, device_ids: frozenset[str], held: Holding) -> None:
        """See an offer whose manifest and document name these devices, to an agent that holds this."""
        self.holds(held)
        self._before = held
        if others := device_ids - {self._device_id}:
            self._broken(Law.OWN_DOCUMENTS_ONLY, f"was offered what is for {', '.join(sorted(others)) or 'nobody'}")
        if offered == held:
            self._broken(Law.NO_NEEDLESS_OFFER, f"was offered revision {offered.revision}, which it holds")
        elif offered.revision < held.revision:
            self._broken(Law.NO_OLD_OFFER, f"was offered revision {offered.revision} and holds {held.revision}")

    def acknowledged(self, revision: int, held: Holding) -> None:
        """See an agent acknowledge a revision while it holds this."""
        self.holds(held)
        if held.revision != revision:
            self._broken(Law.ACK_MEANS_IN_FORCE, f"acknowledged revision {revision} and holds {held.revision}")

    def refused(self, held: Holding) -> None:
        """See an agent refuse the offer that it was told last, while it holds this."""
        self.holds(held)
        if held != self._before:
            self._broken(
                Law.LAST_GOOD_STAYS, f"held revision {self._before.revision}, refused, and holds {held.revision}"
            )

    def confirmed(self, confirmed: Holding, held: Holding) -> None:
        """See the server confirm this to an agent that holds that."""
        self.holds(held)
        if confirmed != held:
            self._broken(
                Law.CONFIRMS_WHAT_IS_HELD, f"holds revision {held.revision}, and {confirmed.revision} was confirmed"
            )

    def holds(self, held: Holding) -> None:
        """See what the agent has in force."""
        same_revision_other_bytes = held.revision == self._floor.revision and held != self._floor
        if held.revision < self._floor.revision or same_revision_other_bytes:
            self._broken(
                Law.REVISION_NEVER_DOWN,
                f"held revision {self._floor.revision} ({self._floor.sha256.hex()[:12]}) "
                f"and holds {held.revision} ({held.sha256.hex()[:12]})",
            )
        self._floor = held

    def rewound(self, held: Holding) -> None:
        """See that the script took the agent back to an older state."""
        self._floor = held

    def take(self) -> list[Violation]:
        """Give the violations since the last time."""
        taken, self.violations = self.violations, []
        return taken

    def _broken(self, law: Law, detail: str) -> None:
        self.violations.append(Violation(self._name, law, detail))
