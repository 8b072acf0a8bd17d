"""How a prerequisite that does not hold is told: the rule, what was found, what to do."""


class Broken(Exception):
    """A rule that does not hold; ends the Ansible task as failed."""

    def __init__(self, rule: str, found: str, remedy: str) -> None:
        super().__init__(rule)
        self.rule, self.found, self.remedy = rule, found, remedy

    def __str__(self) -> str:
        return f"{self.rule}: this does not hold.\nFound: {self.found}.\nTo do: {self.remedy}."

    def as_data(self) -> dict[str, str]:
        """The same for machines, in a result's `broken`."""
        return {"rule": self.rule, "found": self.found, "remedy": self.remedy}


class Unreachable(Broken):
    """The host cannot be reached at all; ends the Ansible task as unreachable."""


def told(broken: list[Broken]) -> str:
    """The message for several rules at once."""
    return "\n\n".join(str(one) for one in broken)
