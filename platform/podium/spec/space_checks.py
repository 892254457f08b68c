"""What is wrong with a search space: its keys, domains, conditions and points. Pure."""

from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from podium.errors import SpecError
from podium.spec import wording
from podium.spec.components import Components
from podium.spec.heads import HeadSettings, head_weight
from podium.spec.settings import suggestion
from podium.spec.space import Choice, Domain, Float, Int, Parameter, Space, Value
from podium.spec.sweep import SEARCHED_DATA, DataSettings, SweepSpec, flatten
from podium.spec.wording import Path, show

Problems = Iterator[tuple[Path, str]]

SEARCHABLE = (*flatten(Components().model_dump()), *(f"data.{name}" for name in SEARCHED_DATA), "seed")
"""The settings that a trial may override by a searched key; the weights of heads come on top."""

_ENUMERATED = 100
"""Up to how many integers of a range are checked one by one."""


def problems(spec: SweepSpec) -> Problems:
    """Every problem of the space of `spec`, and of what depends on it, each with its path."""
    faults = list(_keys(spec))
    faults += [fault for name in spec.search.space for fault in _domains(spec, name)] if not faults else []
    faults += list(_conditions(spec)) if not faults else []
    yield from faults
    if faults:
        return
    try:
        space = spec.space()
    except SpecError as error:
        yield _space_path(error.key), error.problem
        return
    yield from _points(spec, space)
    yield from _sampler(spec, space)


def check_point(space: Space, point: Mapping[str, Value]) -> None:
    """Checks a whole or partial point that a user wants tried.

    Raises:
        SpecError: for a key that is not searched, or a value outside its domain.
    """
    for key, value in point.items():
        problem = _outside(space, key, value)
        if problem:
            raise SpecError(problem, key=key)


def _searchable(spec: SweepSpec) -> tuple[str, ...]:
    return (*SEARCHABLE, *map(head_weight, spec.heads))


def _keys(spec: SweepSpec) -> Problems:
    searchable = _searchable(spec)
    for key in spec.search.space:
        section, _, rest = key.partition(".")
        if spec.own_network is not None and section == "network" and rest:
            yield (
                ("search", "space", key),
                f"is for built-in networks, and network is {spec.own_network}; search keys of its own, such as {rest}",
            )
            continue
        known = key in searchable and not (section == "data" and spec.data is None)
        free = spec.has_code and not (rest and section in SweepSpec.model_fields)
        if not known and not free:
            allowed = [name for name in searchable if name.partition(".")[0] == section] or searchable
            yield ("search", "space", key), f"is not a setting that can be searched{suggestion(key, allowed)}"


def _domains(spec: SweepSpec, name: str) -> Problems:
    if name in _searchable(spec):
        for path, domain in _variants(spec, name):
            for value in _samples(domain):
                problem = _refused(spec, name, value)
                if problem:
                    yield path, f"holds {show(value)}, which {name} refuses: {problem}"
                    break
    value = spec.given().get(name)
    domains = [domain for _, domain in _variants(spec, name)]
    if name in spec.given() and not any(domain.contains(value) for domain in domains):
        yield (
            _setting_path(spec, name),
            f"{show(value)} is trial 0's value, since the key is searched; it must be {_span(domains)}",
        )


def _conditions(spec: SweepSpec) -> Problems:
    fixed = spec.fixed()
    for name, settings in spec.search.space.items():
        several = isinstance(settings, tuple)
        for index, one in enumerate(settings if isinstance(settings, tuple) else (settings,)):
            path: Path = ("search", "space", name, *((index,) if several else ()), "when")
            for parent, allowed in one.conditions().items():
                domains = [domain for _, domain in _variants(spec, parent)]
                if not domains and parent not in fixed:
                    names = {*spec.search.space, *fixed} - {name}
                    near = suggestion(parent, names).partition(" allowed:")[0].rstrip(";")
                    yield (*path, parent), f"no parameter or setting has this name{near}"
                for value in allowed:
                    if domains and not any(domain.contains(value) for domain in domains):
                        yield (*path, parent), f"{show(value)} is none of its values; they are {_span(domains)}"
                    elif not domains and parent in _searchable(spec) and (problem := _refused(spec, parent, value)):
                        yield (*path, parent), f"{show(value)} is none of its values: {problem}"


def _points(spec: SweepSpec, space: Space) -> Problems:
    for index, point in enumerate(spec.search.points):
        for key, value in point.items():
            problem = _outside(space, key, value)
            if problem:
                yield ("search", "points", index, key), problem
        if spec.search.sampler == "list" and not space.contains(point):
            yield (
                ("search", "points", index),
                "leaves keys open, or sets inactive ones; `sampler: list` takes whole points",
            )


def _sampler(spec: SweepSpec, space: Space) -> Problems:
    listed, trials = len(spec.search.points), spec.budget.trials
    if spec.search.sampler == "list" and trials > listed:
        yield (
            ("budget", "trials"),
            f"is {trials}, and search.points lists {listed}; a list has one point for each trial",
        )
    if spec.search.sampler == "grid":
        for parameter in space.parameters:
            if parameter.domain.values() is None:
                yield (
                    ("search", "space", parameter.name),
                    "is continuous, and a grid needs a finite number of values; give it a `step` or a `choice`",
                )
    if spec.search.sampler == "cmaes" and not any(map(is_numeric, space.parameters)):
        yield (
            ("search", "sampler"),
            "cmaes needs at least one numeric parameter without `when`; tpe searches any space",
        )


def is_numeric(parameter: Parameter) -> bool:
    """Whether CMA-ES can move the parameter: a number that every trial has."""
    return isinstance(parameter.domain, Float | Int) and not parameter.when


def _outside(space: Space, key: str, value: Value) -> str:
    """Why `key: value` cannot be part of a point; empty if it can."""
    if key not in space.names:
        return f"is not searched{suggestion(key, space.names)}"
    domains = [parameter.domain for parameter in space.parameters if parameter.name == key]
    if any(domain.contains(value) for domain in domains):
        return ""
    return f"{show(value)} is outside of its domain, {_span(domains)}"


def _refused(spec: SweepSpec, name: str, value: Value) -> str:
    """Why the setting `name` does not take `value`; empty if it does."""
    section, _, rest = name.rpartition(".")
    try:
        if section == "data":
            assert spec.data is not None
            DataSettings.model_validate({**spec.data.model_dump(), rest: value})
        elif section.startswith("heads."):
            HeadSettings.model_validate({**spec.heads[section.removeprefix("heads.")].model_dump(), rest: value})
        elif not section:
            SweepSpec.model_validate({**spec.written(), rest: value})
        else:
            spec.components({name: value})
    except ValidationError as error:
        return wording.phrase(error.errors(include_url=False)[0])
    return ""


def _variants(spec: SweepSpec, name: str) -> list[tuple[Path, Domain]]:
    settings = spec.search.space.get(name, ())
    if isinstance(settings, tuple):
        return [(("search", "space", name, index), one.domain()) for index, one in enumerate(settings)]
    return [(("search", "space", name), settings.domain())]


def _samples(domain: Domain) -> tuple[Value, ...]:
    """The values of a domain if they are few, otherwise its ends."""
    if isinstance(domain, Choice):
        return domain.options
    if isinstance(domain, Int) and (domain.high - domain.low) // domain.step < _ENUMERATED:
        return tuple(domain.values())
    return (domain.low, domain.high)


def _span(domains: list[Domain]) -> str:
    spans = [
        f"one of {', '.join(show(option) for option in domain.options)}"
        if isinstance(domain, Choice)
        else f"{'a whole number' if isinstance(domain, Int) else 'a number'} from {domain.low:g} to {domain.high:g}"
        + (f" in steps of {domain.step:g}" if domain.step not in (None, 1) else "")
        for domain in domains
    ]
    return " or ".join(spans)


def _setting_path(spec: SweepSpec, name: str) -> Path:
    return ("parameters", name) if name in spec.parameters else tuple(name.split("."))


def _space_path(key: str) -> Path:
    name = key.removeprefix("search.space.")
    return ("search", "space", name.removesuffix(".when"), *(("when",) if name.endswith(".when") else ()))
