"""How quick the board is on a sweep of 10,000 trials and 200,000 metric points, and what it costs the driver.

python tests/benchmarks/board.py [--trials 10000] [--rounds 6] [--folder FOLDER]

Makes the ledger with the real machine (kept in FOLDER for the next time), and measures in Chromium: from the start of
the process to the first picture and until all is read; a first picture once it is; an update; and from an event's
commit to the screen. Then a driver on the same ledger goes on, with the board open and without it in turn: the time of
one of its loops. Prints one JSON line; keep the machine quiet.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import board_homes
import psutil
from large_sweeps import curve, epoch_s, large_spec, play, write
from playwright.sync_api import Page, sync_playwright

from podium.execution.simulated import SimulatedExecutor
from podium.ledger import Book
from podium.sweep.machine import Machine
from podium.sweep.messages import EVENT, Event
from podium.testing.simulation import RandomProposer, drive, launched

EVENTS = 40
"""So many events are waited for on the screen."""

TIMED = """() => {
    window.took = [];
    const fetched = window.fetch;
    window.fetch = async (...all) => {
        const at = performance.now(), answer = await fetched(...all);
        took.push([all[0], performance.now() - at]);
        return answer;
    };
}"""
"""Notes in a page what each fetch takes, in milliseconds."""


def pictured(page: Page) -> None:
    page.wait_for_selector("#figure-curves svg", timeout=120_000)


def looks(home: Path, name: str, events: list[Event]) -> dict[str, Any]:
    """What somebody sees who opens the board and goes on looking."""
    figures: dict[str, Any] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        began = time.perf_counter()
        with board_homes.shown(home) as shown:
            page = browser.new_page()
            page.goto(f"{shown.url}/sweeps/{name}")
            figures["answers_s"] = round(time.perf_counter() - began, 2)
            pictured(page)
            figures["cold_first_picture_s"] = round(time.perf_counter() - began, 2)
            page.wait_for_selector("#banner:not(:has(.banner))", state="attached", timeout=300_000)
            figures["all_read_s"] = round(time.perf_counter() - began, 2)
            page.close()
            warm = []
            for _ in range(5):
                page = browser.new_page()
                began = time.perf_counter()
                page.goto(f"{shown.url}/sweeps/{name}")
                pictured(page)
                warm.append(time.perf_counter() - began)
                last = page
            figures["warm_first_picture_s"] = spread(warm)
            figures |= follows(last, home, name, events)
            sizes = last.evaluate("performance.getEntriesByType('resource').map((each) => each.encodedBodySize)")
            figures["page_kb"] = round(len(last.content()) / 1000)
            figures["largest_part_kb"] = round(max(sizes) / 1000)
            figures["server_mb"] = round(psutil.Process(shown.process.pid).memory_info().rss / 1e6)
        browser.close()
    return figures


def follows(page: Page, home: Path, name: str, events: list[Event]) -> dict[str, Any]:
    """Appends events one by one, and waits for each on the screen."""
    page.wait_for_timeout(3000)
    held = Book.at_home(home).hold(name)
    page.evaluate(TIMED)
    shown = []
    for event in events[:EVENTS]:
        sequence = held.append([event])
        began = time.perf_counter()
        while int(page.get_attribute("#sequence", "data-sequence") or -1) < sequence:
            page.wait_for_timeout(10)
        shown.append(time.perf_counter() - began)
        page.wait_for_timeout(300)
    took = page.evaluate("took.filter(([url]) => url.endsWith('headline')).map(([, ms]) => ms / 1000)")
    drawn = page.evaluate("took.filter(([url]) => url.includes('figures')).map(([, ms]) => ms / 1000)")
    held.release()
    return {"event_to_screen_s": spread(shown), "update_s": spread(took), "chart_s": spread(drawn) if drawn else None}


def loops(home: Path, number: int) -> list[float]:
    """Seconds of each loop of a driver that appends to the ledger; its training takes no time."""
    spec = large_spec(f"driven-{number}", trials=400)
    executor = SimulatedExecutor(spec, 16, curve, epoch_s)
    executor.start()
    machine, held = Machine(spec), Book.at_home(home).hold(spec.sweep)
    ends: list[float] = []
    opening = (launched(spec),)
    drive(
        machine,
        held,
        RandomProposer(spec.space()),
        executor,
        executor.clock,
        opening,
        lambda _: (ends.append(time.perf_counter()), time.sleep(0.002))[0],
    )
    held.release()
    return [late - early - 0.002 for early, late in pairwise(ends)]


def costs(home: Path, name: str, rounds: int) -> dict[str, Any]:
    """A driver's loop with nobody looking, and with a page open on its sweep and one on the large one."""
    ratios, alone, beside = [], [], []
    with sync_playwright() as playwright, board_homes.shown(home) as shown:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for number in range(rounds):
            pages = [browser.new_page() for _ in range(2)]
            pages[0].goto(f"{shown.url}/sweeps/{name}")
            pages[1].goto(f"{shown.url}/")
            pages[0].wait_for_selector("#banner:not(:has(.banner))", state="attached", timeout=300_000)
            beside.append(statistics.median(loops(home, 2 * number)))
            for page in pages:
                page.close()
            time.sleep(1)
            alone.append(statistics.median(loops(home, 2 * number + 1)))
            ratios.append(beside[-1] / alone[-1])
            print(f"  loop alone {1e3 * alone[-1]:.2f} ms, with the board {1e3 * beside[-1]:.2f} ms", file=sys.stderr)
        browser.close()
    return {"loop_alone_ms": spread(alone, 1e3), "loop_beside_ms": spread(beside, 1e3), "ratio": spread(ratios)}


def spread(values: list[float], unit: float = 1.0) -> list[float]:
    """The median, the least and the most."""
    found = (statistics.median(values), min(values), max(values))
    return [round(value * unit, 3) for value in found]


def prepared(folder: Path, trials: int) -> Path:
    """A home with the large sweep but for its last events, which are kept beside its ledger."""
    home = folder / f"{trials}"
    if not (home / "ledger.db").exists():
        played = play(large_spec(trials=trials))
        write(home, played, played.rows[: len(played.rows) - 2 * EVENTS])
        tail = [event.model_dump_json() for _, event in played.rows[-2 * EVENTS :]]
        (home / "tail.json").write_text(json.dumps({"events": tail, "points": played.points, "rows": len(played.rows)}))
    return home


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--folder", type=Path, default=Path(gettempdir()) / "podium-board")
    options = parser.parse_args()
    made, name = prepared(options.folder, options.trials), "large"
    home = options.folder / "now"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(made, home)
    about = json.loads((home / "tail.json").read_text())
    events = [EVENT.validate_json(text) for text in about.pop("events")]
    figures = looks(home, name, events)
    figures |= costs(home, name, options.rounds) if options.rounds else {}
    print(json.dumps({"trials": options.trials, **about, "load": round(os.getloadavg()[0], 1), **figures}))


if __name__ == "__main__":
    main()
