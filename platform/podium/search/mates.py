"""What a mate shares with the trial that it is a mate of, its lead, and what is left to draw for it."""

from collections.abc import Mapping

from podium.spec.space import Parameter, Space, Value, fusible_because


class Mates:
    """Splits the parameters of a space in those that mates share and the rest.

    Shared are the structural ones, and fusible ones that decide whether a structural one is active.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._shared: set[str] = set()
        for parameter in reversed(space.parameters):
            if fusible_because(parameter.name) is None or parameter.name in self._shared:
                self._shared |= {parameter.name, *parameter.when}

    def shared(self, parameters: Mapping[str, Value]) -> dict[str, Value]:
        """What the mates of a trial with these parameters have in common."""
        return {name: value for name, value in parameters.items() if name in self._shared}

    def rest(self, shared: Mapping[str, Value]) -> Space:
        """The space of what is left to draw; what is `shared` stands among its fixed settings."""
        fixed = {**self._space.fixed, **shared}
        rest: list[Parameter] = []
        for parameter in self._space.parameters:
            if parameter.name in self._shared:
                continue
            names = {other.name for other in rest}
            within = {key: allowed for key, allowed in parameter.when.items() if key in names}
            beyond = {key: allowed for key, allowed in parameter.when.items() if key not in names}
            if Parameter(parameter.name, parameter.domain, beyond).is_active(fixed):
                rest.append(Parameter(parameter.name, parameter.domain, within))
        return Space(tuple(rest), fixed)
