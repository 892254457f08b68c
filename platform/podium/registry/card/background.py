"""The model card: what it does not say, how it was found, and where that comes from; from evidence to parts. Pure."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from podium.registry.card import words
from podium.registry.card.findings import FEW, chosen, slices
from podium.registry.card.parts import Points, Section, Table, Text
from podium.spec.sweep import flatten
from podium.tracking.provenance import PACKAGES, masked, normalized


def background(evidence: Mapping[str, Any]) -> Iterator[Section]:
    """Limits, method, parameters, data and provenance."""
    yield Section("What this card does not say", [Points(list(_limits(evidence)))])
    yield Section("Method", [Points(list(_method(evidence)))])
    yield _table("Parameters of the chosen finalist", chosen(evidence).get("parameters"), "parameter")
    yield _data(evidence)
    yield _provenance(evidence)


def _method(evidence: Mapping[str, Any]) -> Iterator[str]:
    finalists, test = evidence.get("finalists") or (), evidence.get("test") or {}
    seeds = max((len(each["values"]) for each in finalists), default=0)
    yield (
        f"The sweep {evidence['promotion']} trained {words.count(len(finalists), 'finalist')} of the sweep "
        f"{evidence['sweep']} again, from scratch to the full budget, each with {words.count(seeds, 'fresh seed')}."
    )
    yield f"The finalist with the best mean {evidence['metric']} over these seeds was chosen, without any test data."
    yield _shipped(evidence.get("shipped") or {}, str(evidence["metric"]))
    if words.is_known(test.get("samples")):
        yield f"It alone was then tested, on the {words.count(test['samples'], 'example')} of the test split."
    if evidence.get("comparison"):
        yield f"It was compared with {words.opponent(evidence)} example by example, on the same test examples."
    yield "Intervals over seeds are Student's t, and show how much chance in training matters."


def _shipped(shipped: Mapping[str, Any], metric: str) -> str:
    trials, seeds, epochs = (
        ", ".join(map(str, shipped.get(key) or ())) or words.UNKNOWN for key in ("trials", "seeds", "epochs")
    )
    splits = str(shipped.get("train_on") or words.UNKNOWN).split("+")
    how = {
        "best": "those of the seed that was best on validation",
        "average": "the average of those of all seeds",
        "ensemble": "those of all seeds, whose answers are averaged",
    }.get(str(shipped.get("how")), words.UNKNOWN)
    if shipped.get("how") == "best" and len(splits) > 1:
        how = "those of one more training, its seed and epochs settled beforehand"
    said = f"The weights that are shipped: {how} (trial {trials} of the promotion, seed {seeds}, epoch {epochs}), "
    said += f"trained on the {words.listed(splits)} split{'s' if len(splits) > 1 else ''}"
    if words.is_known(shipped.get("validation")) and len(splits) == 1:
        said += f"; their {metric} is {words.number(shipped['validation'], words.is_share(metric))}"
    return f"{said}."


def _limits(evidence: Mapping[str, Any]) -> Iterator[str]:
    test, finalists = evidence.get("test") or {}, evidence.get("finalists") or ()
    if words.is_known(test.get("samples")):
        yield (
            f"All figures of the test rest on {words.count(test['samples'], 'example')}, and hold for data like these "
            "alone: nothing is known of other sources or later times."
        )
    else:
        yield "How many examples the test split has is unknown."
    if evidence.get("comparison"):
        yield words.enough(evidence) or "How small a difference the test split could have told is unknown."
    if evidence.get("comparison") and evidence["comparison"]["is_champion"]:
        yield _left_out(test)
    if words.is_known(test.get("reading")):
        yield _readings(test)
    parts = slices(evidence)
    if parts:
        small = sum((each["samples"] or 0) < FEW for each in parts)
        few = f", of which {small} {'has' if small == 1 else 'have'} fewer than {FEW} examples" if small else ""
        yield f"Among {words.count(len(parts), 'slice')}{few}, some look bad by chance: intervals are right one by one."
    else:
        yield "Whether it is worse for some classes or groups is unknown."
    if len(finalists) > 1:
        yield (
            f"What is confirmed of the chosen finalist is still a little too good, since it is the best of "
            f"{len(finalists)}; the figures of the test are not."
        )
    lost = sum(not words.is_known(value) for each in finalists for value in each["values"])
    if lost:
        yield f"{words.count(lost, 'training')} over fresh seeds diverged or failed, and no interval knows of that."
    if evidence.get("measured"):
        yield "Times and memory were measured on the machine that is named below, and differ on others."


def _left_out(test: Mapping[str, Any]) -> str:
    left_out = test.get("left_out")
    why = f": {test['left_out_why']}" if test.get("left_out_why") else ""
    if left_out is None:
        return f"Whether the champion was trained on some of the test examples is unknown{why}."
    if not left_out:
        return "The champion was trained on none of the test examples, so none was left out of the comparison."
    why = why or ", since the champion was trained on them"
    return (
        f"{words.count(left_out, 'test example')} {'was' if left_out == 1 else 'were'} left out of the comparison{why}."
    )


def _readings(test: Mapping[str, Any]) -> str:
    before = test["reading"] - 1
    if not before:
        return "The test split was read for the first time. Every further reading demands stronger evidence."
    return (
        f"The test split was read {'once' if before == 1 else f'{before} times'} before. So a chance of "
        f"{words.percent(test.get('tightened'))} to err is allowed here, not the {words.percent(test.get('alpha'))} of "
        "all readings together."
    )


def _data(evidence: Mapping[str, Any]) -> Section:
    data, name = evidence.get("data") or {}, (evidence.get("provenance") or {}).get("data")
    rows = {"name": name, "test split": (evidence.get("test") or {}).get("data")}
    for part in ("source", "split", "rows", "schema"):
        found = data.get(part)
        settings = {name: value for name, value in flatten({part: found or {}}).items() if value is not None}
        rows |= _masked(settings) if settings else {part: None}
    return _table("Data", {**rows, "licence": data.get("licence") or "not stated"}, "")


def _provenance(evidence: Mapping[str, Any]) -> Section:
    origin = evidence.get("provenance") or {}
    if not origin:
        return Section("Where it comes from", [Text("No provenance was kept.")])
    hardware = origin.get("hardware") or {}
    at = evidence.get("at")
    rows = {
        "decided": f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC" if at else None,
        "by": evidence.get("by"),
        "code": _code(origin.get("git") or {}),
        "task code": "none, a built-in task" if origin.get("code") == "" else origin.get("code"),
        "command": " ".join(masked(list(map(str, origin.get("command") or ())))),
        "python": origin.get("python"),
        "platform": origin.get("platform"),
        "cores": hardware.get("cores"),
        "memory": words.size(hardware.get("memory_bytes")),
        "GPUs": None if hardware.get("gpus") is None else ", ".join(map(str, hardware["gpus"])) or "none",
        "packages": _packages(origin.get("packages") or {}),
    }
    return _table("Where it comes from", rows, "")


def _packages(versions: Mapping[str, Any]) -> str:
    """Those that can change a result; the rest is counted."""
    named = [f"{name} {version or words.UNKNOWN}" for name, version in versions.items() if normalized(name) in PACKAGES]
    more = len(versions) - len(named)
    return ", ".join([*named, *([f"and {more} more" if named else f"{more} others"] if more else [])])


def _code(git: Mapping[str, Any]) -> str:
    """The commit, and how much is not in it; never what."""
    if not git.get("commit"):
        return "not in a git repository"
    if not git.get("dirty"):
        return f"commit {git['commit']}, nothing uncommitted"
    diff = str(git.get("diff") or "")
    return (
        f"commit {git['commit']}, with uncommitted changes ({words.count(len(diff), 'character')} of difference kept)"
    )


def _table(title: str, values: Mapping[str, Any] | None, head: str) -> Section:
    if not values:
        return Section(title, [Text("Unknown.")])
    return Section(
        title, [Table((head, "value" if head else ""), [[name, _shown(value)] for name, value in values.items()])]
    )


def _masked(values: Mapping[str, Any]) -> dict[str, str]:
    """Without secrets: values of telling names, and logins in addresses."""
    return {name: masked([f"{name}={_shown(value)}"])[0].removeprefix(f"{name}=") for name, value in values.items()}


def _shown(value: Any) -> str:
    if value is None or value in ("", ()):
        return words.UNKNOWN
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
