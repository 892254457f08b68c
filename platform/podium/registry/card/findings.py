"""The model card: what was found, from the evidence to parts. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podium.registry.card import words
from podium.registry.card.parts import (
    Block,
    Curves,
    Figures,
    Forest,
    Kind,
    Mark,
    Outcome,
    Panel,
    Row,
    Section,
    Table,
    Text,
)

FEW = 30
"""Slices of fewer test examples are said to be small."""

MOST_POINTS = 200
"""A curve of more epochs is thinned out."""

MOST_PANELS = 6


def findings(evidence: Mapping[str, Any], most: int) -> Iterator[Section]:
    """Gates, comparison, finalists, slices and measurements; of long lists what matters most, the rest counted."""
    yield Section("At a glance", [Figures(list(_glance(evidence)))])
    yield _gates(evidence)
    yield _comparison(evidence)
    yield _finalists(evidence, most)
    yield _slices(evidence, most)
    yield _measured(evidence)


def _glance(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    test, other = evidence.get("test") or {}, words.opponent(evidence)
    others = test.get("other_metrics") or {}
    for name, value in list((test.get("metrics") or {}).items())[:3]:
        share = words.is_share(name)
        note = f"{other}: {words.number(others[name], share)}" if name in others else ""
        yield f"{name} on the test split", words.number(value, share), note
    if not test.get("metrics"):
        yield "on the test split", "not measured", ""
    comparison = evidence.get("comparison")
    if comparison and comparison["difference"]:
        interval, loss = comparison["difference"], words.loss(evidence)
        shown = words.bounded(interval, words.is_share(loss), unit=" points", sign="+")
        estimate, _, ends = shown.partition(" (")
        level = f"{words.percent(interval['level'])} interval: " if " to " in ends else ""
        yield f"lead over {other} in {loss}", estimate, level + ends.rstrip(")")
    latency = ((evidence.get("measured") or {}).get("latency") or {}).get("1")
    if latency:
        half, most = (words.seconds(latency[name]) for name in ("p50_s", "p99_s"))
        yield "time of one answer", half, f"99 of 100 within {most}"
    checks = evidence.get("checks") or ()
    if checks:
        passed = sum(check["outcome"] == "passed" for check in checks)
        yield "gates passed", f"{passed} of {len(checks)}", ""


def chosen(evidence: Mapping[str, Any]) -> Mapping[str, Any]:
    """The finalist that was chosen; empty if there is none."""
    return next((each for each in evidence.get("finalists") or () if each["chosen"]), {})


def slices(evidence: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The parts of the test split of which something is known."""
    parts = evidence.get("slices") or ()
    return [each for each in parts if each["interval"] and words.is_known(each["interval"]["estimate"])]


def _gates(evidence: Mapping[str, Any]) -> Section:
    order = ("failed", "open", "passed")
    checks = sorted(
        evidence.get("checks") or (),
        key=lambda check: order.index(check["outcome"]) if check["outcome"] in order else 1,
    )
    if not checks:
        return Section("Gates", [Text("No gate was asked for an opinion.")])
    rows = [(Outcome(str(check["outcome"])), str(check["gate"]), str(check["reason"] or "")) for check in checks]
    return Section("Gates", [Table(("outcome", "gate", "why"), rows)])


def _comparison(evidence: Mapping[str, Any]) -> Section:
    comparison = evidence.get("comparison")
    if not comparison:
        return Section("Comparison", [Text("The candidate was compared with no other model.")])
    other, loss = words.opponent(evidence), words.loss(evidence)
    said = words.difference(evidence)
    blocks: list[Block] = [Text(f"{said[0].upper()}{said[1:]}.")]
    if comparison["difference"] and words.is_known(comparison["difference"]["estimate"]):
        blocks.append(_lead(comparison, loss, (other, f"version {evidence['version']}")))
    wins, losses = comparison.get("wins"), comparison.get("losses")
    if words.is_known(wins) and words.is_known(losses):
        blocks.append(Text(f"The candidate has the lower {loss} on {wins} test examples, {other} on {losses} others."))
    blocks.append(Text(_significance(comparison, evidence.get("test") or {})))
    if comparison.get("method"):
        blocks.append(Text(f"Method: {comparison['method']}."))
    return Section(f"Comparison with {other}", blocks)


def _lead(comparison: Mapping[str, Any], loss: str, sides: tuple[str, str]) -> Forest:
    interval, share = comparison["difference"], words.is_share(loss)
    text = words.bounded(interval, share, unit=" points", sign="+")
    note = f"{words.percent(interval['level'])} interval"
    row = Row(f"lead in {loss}", note, [_mark("chosen", interval)], [text])
    lines = [(0.0, "no difference")]
    if comparison.get("margin"):
        lines.append((-comparison["margin"], "how much worse would be allowed"))
    better = (f"{sides[0]} is better", f"{sides[1]} is better")
    return Forest(("", "above 0, the candidate is better"), [row], share, (), lines, better)


def _significance(comparison: Mapping[str, Any], test: Mapping[str, Any]) -> str:
    found = (
        "If the candidate were no better, a result as good would still come up with a chance of "
        f"{words.chance(comparison['p_better'])}; if it were no worse, one as bad with "
        f"{words.chance(comparison['p_worse'])}."
    )
    if not words.is_known(test.get("tightened")):
        return found
    allowed = f"To count as shown, a chance has to be at most {words.chance(test['tightened'])}"
    if not words.is_known(test.get("reading")):
        return f"{found} {allowed}."
    return (
        f"{found} {allowed}: this was reading {test['reading']} of this test split, and all its readings together are "
        f"to mislead with a chance of {words.chance(test.get('alpha'))} at most."
    )


def _finalists(evidence: Mapping[str, Any], most: int) -> Section:
    metric, maximize = str(evidence["metric"]), evidence["direction"] == "maximize"
    share = words.is_share(metric)
    finalists = sorted(evidence.get("finalists") or (), key=lambda each: _rank(each, maximize))
    if not finalists:
        return Section("Finalists", [Text("There were none.")])
    shown = finalists[:most]
    varying = _varying(finalists)
    rows = [_finalist(each, share, varying) for each in shown]
    blocks: list[Block] = [
        Text(
            "What the sweep reported of a finalist is the best of many noisy figures, and so on average too good. "
            f"Here is what fresh seeds confirm: {metric}, {'higher' if maximize else 'lower'} is better"
            f"{_levels(finalists)}."
        ),
        Forest(
            ("finalist", "confirmed over fresh seeds"),
            rows,
            share,
            (("chosen", "confirmed, chosen"), ("plain", "confirmed"), ("reported", "reported by the sweep")),
        ),
    ]
    if len(finalists) > most:
        blocks.append(Text(f"{words.count(len(finalists) - most, 'more finalist')} did no better and are not shown."))
    panels = [panel for panel in map(_panel, shown[:MOST_PANELS]) if panel.curves]
    if panels:
        blocks.append(Curves(metric, maximize, share, panels))
    return Section("Finalists", blocks)


def _levels(of: Sequence[Mapping[str, Any]]) -> str:
    """At which level their intervals are."""
    levels = sorted({each["interval"]["level"] for each in of if each["interval"]})
    return f"; in brackets, {' and '.join(map(words.percent, levels))} intervals" if levels else ""


def _rank(finalist: Mapping[str, Any], maximize: bool) -> tuple[bool, float]:
    """The chosen one first, then the best."""
    interval = finalist["interval"]
    value = interval["estimate"] if interval and words.is_known(interval["estimate"]) else None
    return not finalist["chosen"], float("inf") if value is None else -value if maximize else value


def _varying(finalists: Sequence[Mapping[str, Any]]) -> list[str]:
    """Parameters that are not the same for all."""
    names = sorted({name for each in finalists for name in each["parameters"]})
    return [name for name in names if len({repr(each["parameters"].get(name)) for each in finalists}) > 1]


def _finalist(finalist: Mapping[str, Any], share: bool, varying: Sequence[str]) -> Row:
    values, interval = finalist["values"], finalist["interval"]
    lost = sum(not words.is_known(value) for value in values)
    texts = [words.bounded(interval, share) if interval else "no figure"]
    if words.is_known(finalist["reported"]):
        texts.append(f"reported {words.number(finalist['reported'], share)}")
    if words.is_known(finalist["optimism"]):
        by = words.points(abs(finalist["optimism"]), share)
        texts.append(f"{by} too {'good' if finalist['optimism'] > 0 else 'bad'}" if finalist["optimism"] else "exact")
    if lost:
        texts.append(f"{lost} of {words.count(len(values), 'seed')} diverged or failed")
    own = [f"{name} {_value(finalist['parameters'][name])}" for name in varying if name in finalist["parameters"]]
    name = f"trial {finalist['trial']}{', chosen' if finalist['chosen'] else ''}"
    return Row(name, ", ".join(own), _marks(finalist), texts)


def _marks(finalist: Mapping[str, Any]) -> list[Mark]:
    marks = []
    if finalist["interval"] and words.is_known(finalist["interval"]["estimate"]):
        marks.append(_mark("chosen" if finalist["chosen"] else "plain", finalist["interval"]))
    if words.is_known(finalist["reported"]):
        marks.append(Mark("reported", finalist["reported"]))
    return marks


def _panel(finalist: Mapping[str, Any]) -> Panel:
    curves = [_thinned(curve) for curve in (finalist.get("curves") or {}).values() if curve]
    title = f"trial {finalist['trial']}{', chosen' if finalist['chosen'] else ''}"
    return Panel(f"{title}: {words.count(len(curves), 'seed')}", bool(finalist["chosen"]), curves, _marks(finalist))


def _thinned(curve: Sequence[Any]) -> list[tuple[int, float | None]]:
    step = -(-len(curve) // MOST_POINTS)
    kept = [*curve[:-1:step], curve[-1]]
    return [(epoch, value if words.is_known(value) else None) for epoch, value in kept]


def _slices(evidence: Mapping[str, Any], most: int) -> Section:
    parts = sorted(slices(evidence), key=lambda each: -each["interval"]["estimate"])
    loss = words.loss(evidence)
    share = words.is_share(loss)
    if not parts:
        return Section("Slices", [Text("No class or group was looked at by itself.")])
    other = words.opponent(evidence)
    compared = [each for each in parts if each["other"]]
    small = sum((each["samples"] or 0) < FEW for each in parts)
    said = [
        f"Mean {loss} of {words.count(len(parts), 'slice')} of the test split, the worst first; lower is better"
        f"{_levels(parts)}."
    ]
    if compared:
        worse = sum(each["interval"]["estimate"] > each["other"]["estimate"] for each in compared)
        said.append(f"On {worse} of {len(compared)} it is higher than that of {other}.")
    if small:
        said.append(f"{words.count(small, 'slice')} of fewer than {FEW} examples can say little.")
    if len(parts) > most:
        said.append(f"Shown are the {most} worst; the other {len(parts) - most} are better.")
    rows = [_slice(each, share, other) for each in parts[:most]]
    legend: list[tuple[Kind, str]] = [("chosen", f"version {evidence['version']}")]
    if compared:
        legend.append(("other", other))
    return Section("Slices", [Text(" ".join(said)), Forest(("slice", loss), rows, share, legend)])


def _slice(part: Mapping[str, Any], share: bool, other: str) -> Row:
    marks, texts = [_mark("chosen", part["interval"])], [words.bounded(part["interval"], share)]
    if part["other"]:
        marks.append(_mark("other", part["other"]))
        texts.append(f"{other}: {words.bounded(part['other'], share)}")
    return Row(f"{part['by']} {part['name']}", words.count(part["samples"] or 0, "example"), marks, texts)


def _measured(evidence: Mapping[str, Any]) -> Section:
    measured = dict(evidence.get("measured") or {})
    rows = []
    for batch, times in (measured.pop("latency", None) or {}).items():
        title = "one answer" if batch == "1" else f"{batch} answers at once"
        half, most = (words.seconds((times or {}).get(name)) for name in ("p50_s", "p99_s"))
        rows.append((title, f"half within {half}, 99 of 100 within {most}"))
    known = {
        "bytes": ("the model's files", words.size),
        "memory_bytes": ("memory beside the interpreter and its packages", words.size),
        "threads": ("threads of the processor", str),
        "agreement": ("largest difference to the trained network's answers", lambda value: words.number(value, False)),
    }
    for name, value in measured.items():
        title, write = known.get(name, (name.replace("_", " "), _value))
        if isinstance(value, int | float | str):
            rows.append((title, write(value)))
    if not rows:
        return Section("What it takes to serve", [Text("Not measured.")])
    return Section("What it takes to serve", [Table(("measured on the machine named below", ""), rows)])


def _mark(kind: Kind, interval: Mapping[str, Any]) -> Mark:
    return Mark(kind, interval["estimate"], *words.bounds(interval))


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
