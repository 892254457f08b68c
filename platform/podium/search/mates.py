"""What a mate shares with the trial that it is a mate of, and what is left to draw for it."""

from collections.abc import Mapping

from podium.spec.space import Parameter, Space, Value, fusible_because


def shared_names(space: Space) -> frozenset[str]:
    """The structural parameters, and the fusible ones that decide whether a structural one is active."""
    shared: set[str] = set()
    for parameter in reversed(space.parameters):
        if fusible_because(parameter.name) is None or parameter.name in shared:
            shared |= {parameter.name, *parameter.when}
    return frozenset(shared)


def space_beside(space: Space, shared: Mapping[str, Value]) -> Space:
    """The space of what is left to draw; what is `shared` stands among the fixed settings."""
    fixed = {**space.fixed, **shared}
    left: list[Parameter] = []
    for parameter in space.parameters:
        if parameter.name in shared_names(space):
            continue
        names = {other.name for other in left}
        among = {key: allowed for key, allowed in parameter.when.items() if key in names}
        outside = {key: allowed for key, allowed in parameter.when.items() if key not in names}
        if Parameter(parameter.name, parameter.domain, outside).is_active(fixed):
            left.append(Parameter(parameter.name, parameter.domain, among))
    return Space(tuple(left), fixed)
