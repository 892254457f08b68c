"""Points that users want tried, as forms ask for them: a field for each searched parameter. Pure."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from podium.spec.space import Choice, Domain, Float, Int, Parameter, Space, Value


@dataclass(frozen=True)
class Field:
    """One parameter in the form.

    Attributes:
        name: Its key.
        help: What it may be, and where it is active.
        options: What is sent and what is shown for each choice; none where a number is asked for.
        text: What was sent.
        problem: Why that does not do; empty if it does.
    """

    name: str
    help: str
    options: tuple[tuple[str, str], ...] = ()
    text: str = ""
    problem: str = ""


def fields(space: Space) -> list[Field]:
    """The empty form of a space, parents first."""
    made = []
    for name in space.names:
        variants = [each for each in space.parameters if each.name == name]
        told = [span(each.domain) + _where(each) for each in variants]
        choices = all(isinstance(each.domain, Choice) for each in variants)
        options = {json.dumps(option): str(option) for each in variants for option in _options(each.domain)}
        sent = tuple(options.items()) if choices else ()
        made.append(Field(name, "; or ".join(dict.fromkeys(told)), sent))
    return made


def read(space: Space, sent: Mapping[str, str]) -> tuple[dict[str, Value], list[Field]]:
    """The point in a form, and its fields with what is wrong with each; fields left empty are drawn.

    Args:
        space: What is searched.
        sent: By key what was entered.
    """
    point: dict[str, Value] = {}
    filled = [replace(each, text=sent.get(each.name, "").strip()) for each in fields(space)]
    for each in filled:
        for value in _values(space, each)[:1]:
            point[each.name] = value
    return point, [replace(each, problem=_problem(space, each, point)) for each in filled]


def span(domain: Domain) -> str:
    """What a domain allows, in words."""
    match domain:
        case Choice(options):
            return f"one of {len(options)}" if len(options) > 1 else str(options[0])
        case Int(low, high, log, step):
            steps = f", in steps of {step}" if step != 1 else ""
            return f"a whole number from {low} to {high}{steps}{' (log)' if log else ''}"
        case Float(low, high, log, step):
            steps = f", in steps of {step:g}" if step else ""
            return f"a number from {low:g} to {high:g}{steps}{' (log)' if log else ''}"


def _where(parameter: Parameter) -> str:
    told = [f"{parent} is {' or '.join(map(str, allowed))}" for parent, allowed in parameter.when.items()]
    return f", where {' and '.join(told)}" if told else ""


def _options(domain: Domain) -> Sequence[Value]:
    return domain.options if isinstance(domain, Choice) else ()


def _values(space: Space, field: Field) -> list[Value]:
    """What was entered; nothing if it is nothing that the parameter could be."""
    if field.options:
        own = [each.domain for each in space.parameters if each.name == field.name]
        return [option for domain in own for option in _options(domain) if json.dumps(option) == field.text]
    try:
        number = float(field.text)
    except ValueError:
        return []
    if not math.isfinite(number):
        return []
    is_whole = any(isinstance(each.domain, Int) for each in space.parameters if each.name == field.name)
    return [int(number) if is_whole and number.is_integer() else number]


def _problem(space: Space, field: Field, point: Mapping[str, Any]) -> str:
    if not field.text:
        return ""
    if field.name not in point:
        return "is none of the choices" if field.options else f"{field.text!r} is no number; give {field.help}"
    known = {**space.fixed, **point}
    possible = [
        each
        for each in space.parameters
        if each.name == field.name
        and all(parent not in known or known[parent] in allowed for parent, allowed in each.when.items())
    ]
    if not possible:
        return f"has no meaning with the other values; leave it empty, or make it {field.help}"
    if not any(each.domain.contains(point[field.name]) for each in possible):
        return f"is outside of what is searched; give {'; or '.join(span(each.domain) for each in possible)}"
    return ""
