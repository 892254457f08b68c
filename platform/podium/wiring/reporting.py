"""Reports: all that is known of one sweep, collected for a reader who was not there, as a page and on paper."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.errors import PodiumError, UserError
from podium.ledger import Book
from podium.sweep.messages import Judged, Launched
from podium.sweep.trial import Trial, TrialState
from podium.tracking.provenance import PACKAGES
from podium.wiring import comparing, networks, summaries, targets
from podium.wiring.place import Place

if TYPE_CHECKING:
    from podium.drawing.report import Report

MOST_TRIALS = 20
"""Of the best trials so many are listed."""

MOST_COMPARED = 5
"""Of how many of the best the spread is told."""

MOST_ENDINGS = 15

MOST_LOGS = 3
LOG_LINES = 25

_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")


def report(
    place: Place, sweep: str, html: Path | None, pdf: Path | None, stage: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Writes the report of a sweep as a page that loads nothing, as a PDF, or both; what `podium report --json` prints.

    The page is written before the PDF is made, so that it is there even where the library for that is missing.

    Args:
        place: Where the sweep lives.
        sweep: Its name; it may still run.
        html: The file of the page.
        pdf: The file of the PDF.
        stage: Is told what is being done.

    Raises:
        LookupFailed: if there is no such sweep.
        UserError: if a file cannot be written, or no PDF be made on this machine.
    """
    from podium.drawing.report import page

    for path in (html, pdf):
        if path is not None:
            targets.require_writable(path)
    if html is not None and html == pdf:
        raise UserError(f"{html} cannot be the page and the PDF; give two files")
    stage(f"Reading the ledger of {sweep}")
    found = collect(place, sweep)
    stage("Drawing the report")
    text = page(found)
    if html is not None:
        targets.write(html, text.encode())
    if pdf is not None:
        from podium.drawing.printing import to_pdf

        stage("Making the PDF")
        targets.write(pdf, to_pdf(text))
    written = [str(path) for path in (html, pdf) if path is not None]
    return {
        "sweep": sweep,
        "state": found.summary["state"],
        "trials": found.summary["trials"],
        "best": found.summary["best"],
        "html": None if html is None else str(html),
        "pdf": None if pdf is None else str(pdf),
        "message": f"the report of {sweep} is in {' and '.join(written)}",
    }


def collect(place: Place, sweep: str) -> "Report":
    """All that a report says.

    Raises:
        LookupFailed: if there is no such sweep.
    """
    from podium.drawing.panels import Panel
    from podium.drawing.report import Report
    from podium.search.importance import importance

    book = place.book()
    book.require(sweep)
    side = comparing.read(book.rows(sweep), book.facts(sweep).all())
    machine, launched = side.machine, side.launched
    trials, shares = list(machine.trials.values()), importance(machine.spec, machine.trials.values())
    told, best = comparing.tell(book, [side], MOST_COMPARED), comparing.best_trials([side], MOST_TRIALS)
    return Report(
        made_at=time.time(),
        note=machine.spec.note,
        panel=Panel(0, machine.spec, trials, side.curves, shares),
        summary=summaries.summarize(book, sweep, machine),
        certainty=[
            _sentence(said, sweep) for said in told["values"] if told["trials"] and said != comparing.UNREPEATED
        ],
        is_repeated=bool(told["summaries"][0]["repeated"]),
        promotions=promotions(book, sweep),
        best=best["trials"],
        varying=sorted(best["varying"], key=lambda name: (-shares.get(name, 0.0), name)),
        endings=endings(trials),
        logs=logs(trials),
        origin={**_origin(launched), **_data(place, launched)},
        text=launched.text,
        timeline=side.timeline,
        epochs=sum(trial.epoch for trial in trials),
    )


def _sentence(text: str, sweep: str) -> str:
    """What a comparison says of a sweep, without its name."""
    said = text.removeprefix(f"{sweep}: ")
    return said[:1].upper() + said[1:]


def promotions(book: Book, sweep: str) -> list[dict[str, Any]]:
    """The promotions of a sweep, oldest first: `name`, `model`, `state`, and once judged `verdict`, `said`, `reasons`.

    Their sentences are those of the model card.
    """
    from podium.registry.card.words import sentence
    from podium.wiring import champions
    from podium.wiring.plans import promoting_of

    found: list[dict[str, Any]] = []
    for name in book.sweeps():
        promoting = promoting_of(book, name)
        if promoting is None or promoting.sweep != sweep:
            continue
        events = (row.event for row in book.rows(champions.ledger_of(promoting.model)))
        judged = [event for event in events if isinstance(event, Judged) and event.promotion == name]
        found.append(
            {
                "name": name,
                "model": promoting.model,
                "seeds": promoting.seeds,
                "finalists": list(promoting.finalists),
                "state": summaries.summarize(book, name)["state"],
            }
        )
        if judged:
            verdict, reasons = judged[-1].verdict, list(judged[-1].reasons)
            found[-1] |= {"verdict": verdict, "said": sentence(judged[-1].evidence), "reasons": reasons}
    return found


def endings(trials: Iterable[Trial]) -> list[dict[str, Any]]:
    """Why trials ended, the commonest first: `state`, `why`, `count`, whether the reasons `vary`, and some `trials`.

    Reasons that differ in numbers alone are one.
    """
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        if trial.state.is_ended:
            groups.setdefault((str(trial.state), _NUMBER.sub("#", trial.reason)), []).append(trial)
    ordered = sorted(groups.values(), key=lambda group: (-len(group), group[0].number))
    return [
        {
            "state": str(group[0].state),
            "why": group[0].reason,
            "varies": any(trial.reason != group[0].reason for trial in group),
            "count": len(group),
            "trials": [trial.number for trial in group[:5]],
        }
        for group in ordered[:MOST_ENDINGS]
    ]


def logs(trials: Iterable[Trial]) -> list[dict[str, Any]]:
    """The last lines of the logs of some failed trials, one for each way in which they failed."""
    kinds: Counter[str] = Counter()
    first: dict[str, Trial] = {}
    for trial in trials:
        if trial.state is TrialState.FAILED and trial.log_tail:
            kind = _NUMBER.sub("#", trial.reason)
            kinds[kind] += 1
            first.setdefault(kind, trial)
    return [
        {
            "trial": first[kind].number,
            "reason": first[kind].reason,
            "log": "\n".join(first[kind].log_tail.splitlines()[-LOG_LINES:]),
        }
        for kind, _ in kinds.most_common(MOST_LOGS)
    ]


def _origin(launched: Launched) -> dict[str, Any]:
    """What code, packages and machine the sweep was launched with."""
    origin = launched.provenance
    git, hardware = origin.get("git", {}), origin.get("hardware", {})
    packages = origin.get("packages", {})
    return {
        "folder": origin.get("folder", ""),
        "command": list(origin.get("command", [])),
        "code": launched.code,
        "commit": git.get("commit", ""),
        "branch": git.get("branch", ""),
        "is_changed": bool(git.get("dirty")),
        "diff_lines": len(git.get("diff", "").splitlines()),
        "podium": origin.get("podium", ""),
        "python": origin.get("python", ""),
        "platform": origin.get("platform", ""),
        "hardware": {key: hardware[key] for key in ("processor", "cores", "memory_bytes", "gpus") if key in hardware},
        "packages": {name: packages[name] for name in PACKAGES if name in packages},
        "num_packages": len(packages),
    }


def _data(place: Place, launched: Launched) -> dict[str, Any]:
    """What the manifest says of the data, as far as the store still has it."""
    if not launched.data:
        return {}
    known: dict[str, Any] = {"data": launched.data}
    try:
        manifest = networks.load_manifest(place, launched)
    except (PodiumError, OSError):
        return known
    assert manifest is not None
    return known | {
        "source": ", ".join(str(what) if key == "kind" else f"{key} {what}" for key, what in manifest.source.items()),
        "fingerprint": manifest.fingerprint,
        "rows": dict(manifest.rows),
        "licence": manifest.licence,
        "test_set": manifest.test_set,
    }
