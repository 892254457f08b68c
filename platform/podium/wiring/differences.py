"""What two sweeps differ in, each difference as one sentence. Pure functions of how the sweeps were launched."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from podium.spec.space import Choice, Domain, Int, Value
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Launched
from podium.tracking.provenance import PACKAGES, normalized
from podium.wiring.summaries import flat_settings

MANIFEST_KEYS = {"source", "steps", "split", "unreadable", "series", "normalize"}
"""The settings of the data that decide what is prepared: equal data sets say nothing about them."""

_DATA = {
    "source": "the source of the data",
    "steps": "what is done to the data's records",
    "split": "the split",
    "batch_size": "the batch size",
    "seed": "the data seed",
    "share": "the share of the train split that is trained on",
    "train_on": "what is trained on",
}
_DATA_ASIDE = {"dask", "licence", "units"}
_OBJECTIVE = {"metric": "the objective", "direction": "the direction of the objective", "at": "the epoch that counts"}
_ASIDE = ("sweep", "note", "task", "budget.trials")
_ASIDE_SECTIONS = ("tags.", "data.", "search.objective", "search.space.", "search.points", "notify.", "tracking.")
_SHORT = 12

LISTED = 8
"""So many packages are named."""

_HARDWARE: Mapping[str, Callable[[Any], str]] = {
    "processor": lambda name: name or "an unknown processor",
    "cores": lambda count: f"{count} cores",
    "memory_bytes": lambda size: f"{size / 1e9:.0f} GB",
    "gpus": lambda names: " and ".join(names) or "no GPU",
}


class Difference(NamedTuple):
    """One sentence, and what it is about: a key of `ABOUT`."""

    about: str
    text: str


class _Pair(NamedTuple):
    """The two launches, with what is read of each."""

    launches: tuple[Launched, Launched]
    specs: tuple[SweepSpec, SweepSpec]

    @property
    def names(self) -> tuple[str, str]:
        return self.specs[0].sweep, self.specs[1].sweep

    def kept(self, key: str) -> tuple[Any, Any]:
        """What the provenance of each has under a key."""
        one, other = (launched.provenance.get(key) or {} for launched in self.launches)
        return one, other

    def sides(self, what: str, values: tuple[Any, Any]) -> str:
        """The sentence on one thing that has two values."""
        (a, b), (one, other) = self.names, map(words, values)
        return f"{what} is {one} in {a} and {other} in {b}"


def differences(a: Launched, b: Launched) -> list[Difference]:
    """What two sweeps differ in: the objective, data, code, packages, hardware, the space, other settings.

    Labels, notifications and the number of trials are no differences; nor is where equal data come from.
    """
    pair = _Pair((a, b), (SweepSpec.model_validate(a.spec), SweepSpec.model_validate(b.spec)))
    return [Difference(about, text) for about, tell in ABOUT.items() for text in tell(pair)]


def obstacles(found: list[Difference], a: Launched, b: Launched) -> list[str]:
    """Why the values of two sweeps cannot be compared; empty if they can."""
    reasons = [text for about, text in found if about == "objective"]
    trained_on = [(each.spec.get("data") or {}).get("train_on", "train") for each in (a, b)]
    if trained_on[0] != trained_on[1]:
        reasons.append(f"{a.spec['sweep']} was trained on {trained_on[0]}, {b.spec['sweep']} on {trained_on[1]}")
    return [*reasons, *([_other_data(a, b)] if a.data != b.data else [])]


def _other_data(a: Launched, b: Launched) -> str:
    one, other = (f"the prepared data {each.data}" if each.data else "no prepared data" for each in (a, b))
    return f"{a.spec['sweep']} was validated on {one}, {b.spec['sweep']} on {other}"


def _objective(pair: _Pair) -> Iterator[str]:
    one, other = (spec.search.objectives for spec in pair.specs)
    if len(one) != len(other):
        yield pair.sides("the number of objectives", (len(one), len(other)))
    for mine, yours in zip(one, other, strict=False):
        for key, what in _OBJECTIVE.items():
            values = getattr(mine, key), getattr(yours, key)
            if values[0] != values[1]:
                yield pair.sides(what, values)


def _data(pair: _Pair) -> Iterator[str]:
    (a, b), kinds = pair.launches, [spec.data for spec in pair.specs]
    one, other = ({} if kind is None else kind.model_dump(mode="json") for kind in kinds)
    changed = {key for key in one.keys() & other.keys() if one[key] != other[key]}
    if a.data != b.data:
        is_hidden = None not in kinds and not changed & MANIFEST_KEYS
        yield _other_data(a, b) + (": the settings are the same, but not what the source holds" if is_hidden else "")
    else:
        changed -= MANIFEST_KEYS
    for key in sorted(changed - _DATA_ASIDE):
        yield pair.sides(_DATA.get(key, f"data.{key}"), (one[key], other[key]))


def _code(pair: _Pair) -> Iterator[str]:
    (a, b), (one, other) = pair.launches, pair.specs
    if one.task != other.task:
        yield pair.sides("the task", (one.task, other.task))
    if a.code and b.code and a.code != b.code:
        yield pair.sides("the task's code differs: its digest", (a.code[:_SHORT], b.code[:_SHORT]))
    sources = pair.kept("source")
    if all(sources) and sources[0] != sources[1]:
        yield pair.sides("the digest of Podium's own code", (sources[0][:_SHORT], sources[1][:_SHORT]))
    mine, yours = pair.kept("git")
    keys = ("commit", "dirty", "diff")
    if [mine.get(key) for key in keys] == [yours.get(key) for key in keys]:
        return
    if mine and mine.get("commit") == yours.get("commit") and mine.get("dirty") and yours.get("dirty"):
        yield f"both were launched from {_commit(mine)}, but these are not the same"
    else:
        yield f"{pair.names[0]} was launched from {_commit(mine)}, {pair.names[1]} from {_commit(yours)}"


def _commit(git: Mapping[str, Any]) -> str:
    if not git:
        return "a folder outside of git"
    changes = " with uncommitted changes" if git.get("dirty") else ""
    return f"commit {git.get('commit', '')[:_SHORT]}{changes}"


def _packages(pair: _Pair) -> Iterator[str]:
    """Of those that both name: older ledgers name a few."""
    one, other = (
        {normalized(name): version for name, version in {"python": launched.provenance.get("python"), **kept}.items()}
        for launched, kept in zip(pair.launches, pair.kept("packages"), strict=True)
    )
    first = ("python", *PACKAGES)
    found = sorted(
        (name for name in one.keys() & other.keys() if one[name] != other[name]),
        key=lambda name: (name not in first, name),
    )
    for name in found[:LISTED]:
        yield pair.sides(name, (one[name] or "unknown", other[name] or "unknown"))
    if len(found) > LISTED:
        yield f"{len(found) - LISTED} more packages differ in their versions"


def _hardware(pair: _Pair) -> Iterator[str]:
    one, other = pair.kept("hardware")
    told = [key for key in _HARDWARE if key in one and key in other]
    machines = [", ".join(_HARDWARE[key](each[key]) for key in told) for each in (one, other)]
    if machines[0] != machines[1]:
        yield f"{pair.names[0]} was launched on {machines[0]}; {pair.names[1]} on {machines[1]}"
    systems = pair.kept("platform")
    if all(systems) and systems[0] != systems[1]:
        yield pair.sides("the operating system", systems)


def _space(pair: _Pair) -> Iterator[str]:
    spaces = [_domains(spec) for spec in pair.specs]
    for key in sorted({**spaces[0], **spaces[1]}):
        one, other = spaces[0].get(key), spaces[1].get(key)
        if one == other:
            continue
        if one is not None and other is not None:
            yield _changed(pair, key, one, other)
            continue
        searching, fixing = (0, 1) if other is None else (1, 0)
        fixed = pair.specs[fixing].fixed()
        rest = f"; in {pair.names[fixing]} it is {words(fixed[key])}" if key in fixed else ""
        yield f"only {pair.names[searching]} searches {key}, {spaces[searching][key]}{rest}"


def _changed(pair: _Pair, key: str, one: "_Searched", other: "_Searched") -> str:
    (a, b) = pair.names
    if one.options and other.options and one.when == other.when:
        more, less = _without(other.options, one.options), _without(one.options, other.options)
        parts = [f"{name} also tries {_either(extra)}" for name, extra in ((b, more), (a, less)) if extra]
        if parts:
            return f"for {key}, {' and '.join(parts)}"
    return f"{key} is searched {one} in {a} and {other} in {b}"


class _Searched(NamedTuple):
    """How one key is searched, comparable and in words; `options` only where it is one choice."""

    text: str
    options: tuple[Value, ...] = ()
    when: str = ""

    def __str__(self) -> str:
        return self.text


def _domains(spec: SweepSpec) -> dict[str, _Searched]:
    found: dict[str, _Searched] = {}
    for parameter in spec.space().parameters:
        when = " and ".join(f"{key} is {_either(allowed)}" for key, allowed in parameter.when.items())
        text = _range(parameter.domain) + (f" where {when}" if when else "")
        options = parameter.domain.options if isinstance(parameter.domain, Choice) else ()
        before = found.get(parameter.name)
        found[parameter.name] = _Searched(f"{before}, {text}") if before else _Searched(text, options, when)
    return found


def _range(domain: Domain) -> str:
    if isinstance(domain, Choice):
        return f"among {_either(domain.options)}"
    unit = 1 if isinstance(domain, Int) else None
    step = f" in steps of {domain.step:g}" if domain.step != unit else ""
    whole = " in whole numbers" if isinstance(domain, Int) and not step else ""
    return f"from {domain.low:g} to {domain.high:g}{step}{whole}{' on a log scale' if domain.log else ''}"


def _without(options: tuple[Value, ...], others: tuple[Value, ...]) -> tuple[Value, ...]:
    return tuple(option for option in options if option not in others)


def _either(options: tuple[Value, ...]) -> str:
    *most, last = map(words, options)
    return f"{', '.join(most)} or {last}" if most else last


def _settings(pair: _Pair) -> Iterator[str]:
    one, other = map(flat_settings, pair.specs)
    searched = {key for spec in pair.specs for key in spec.search.space}
    for key in sorted({**one, **other}):
        name = key.removeprefix("parameters.")
        if key in _ASIDE or key.startswith(_ASIDE_SECTIONS) or name in searched or one.get(key) == other.get(key):
            continue
        yield pair.sides(name, (one.get(key), other.get(key)))


def words(value: Any) -> str:
    """A setting's value as one says it: numbers in six digits, sections and lists by their entries."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {words(each)}" for key, each in value.items() if each is not None)
    if isinstance(value, list | tuple):
        return "; ".join(map(words, value)) or "none"
    if value is None or isinstance(value, bool):
        return {None: "not set", True: "on", False: "off"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


ABOUT: Mapping[str, Callable[[_Pair], Iterator[str]]] = {
    "objective": _objective,
    "data": _data,
    "code": _code,
    "packages": _packages,
    "hardware": _hardware,
    "space": _space,
    "settings": _settings,
}
"""What sweeps may differ in, in the order in which it is told."""
