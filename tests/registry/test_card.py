"""The model card says what was decided, harms nobody who opens it, and is silent about nothing it does not know."""

import copy
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from promotion_evidence import Evidence, promoted, refused, undecided

from podium.registry.card import SUMMARY_LIMIT, html, markdown, sentence, summary, words
from podium.registry.card.pictures import Scale

CASES = pytest.mark.parametrize("make", [promoted, refused, undecided])
PICTURE = b"\x89PNG\r\n\x1a\n"


class Page(HTMLParser):
    """What a browser would see."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags, self.attributes, self._open = "", set[str](), list[tuple[str, str]](), list[str]()
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attributes)
        if tag not in {"meta", "img"}:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attributes]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text += data.replace("\xa0", " ") + "\n"


def unescaped(text: str) -> str:
    """Markdown as it is read."""
    return re.sub(r"\\(.)", r"\1", text).replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")


@CASES
def test_the_verdict_and_its_reasons_come_first(make: Callable[[], Evidence]) -> None:
    evidence = make()
    for text in (Page(html(evidence)).text, unescaped(markdown(evidence)), unescaped(summary(evidence))):
        head = text.partition("Gates")[0]
        assert all(said in head for said in (evidence["verdict"], sentence(evidence), *evidence["reasons"]))
    for text in (Page(html(evidence)).text, unescaped(markdown(evidence))):
        assert all(check["gate"] in text and check["reason"] in text for check in evidence["checks"])


def test_sentences() -> None:
    assert sentence(promoted()) == (
        "Version 3 of digits is now the champion: its error is 1.9 points lower than that of version 2 on the same 741 "
        "test examples (95 % interval: 0.7 to 3.1 points lower)."
    )
    assert sentence(refused()) == (
        "Version 4 of digits was refused, and version 3 stays the champion: it failed accuracy >= 0.95 and "
        "accuracy >= 0.93 in each slice."
    )
    assert sentence(undecided()) == (
        "Version 1 of rain was not promoted, since the evidence does not tell; there is no champion yet. With 60 test "
        "examples, a true difference of 0.42 in mean loss would be found with a probability of 80 %; for one as large "
        "as the one seen, about 240 are needed."
    )


def test_what_was_reported_stands_beside_what_was_confirmed() -> None:
    text = Page(html(promoted())).text
    assert "97.10 % (96.90 to 97.30)\nreported 97.8 %\n0.7 points too good\n" in text
    assert "1 of 5 seeds diverged or failed" in text
    assert "9 test examples were left out of the comparison: version 2 was trained on equal images." in text
    assert "network.dropout" not in text.partition("Parameters")[0], "it is the same for all finalists"


def test_intervals_tell_their_levels_where_they_stand() -> None:
    evidence = promoted()
    evidence["comparison"]["difference"] |= {"level": 0.9391}
    text = Page(html(evidence)).text
    assert "higher is better; in brackets, 95 % intervals." in text
    assert "93.9 % interval: +0.7 to +3.1" in text
    assert "hold the true value" not in text


def test_equal_seeds_are_no_certainty() -> None:
    evidence = promoted()
    evidence["finalists"][0]["interval"] |= {"estimate": 0.97, "low": 0.97, "high": 0.97}
    assert "97.0 % (all values are equal)" in Page(html(evidence)).text


def test_the_summary_tells_where_the_model_comes_from() -> None:
    text = unescaped(summary(promoted()))
    assert "podium 0.1.0, torch 2.13.0, numpy 2.4.6, and 174 more" in text
    assert text.index("What this card does not say") < text.index("Where it comes from")
    assert "none, a built-in task" in unescaped(summary(undecided()))


def test_what_is_known_not_to_be_there_is_not_called_unknown() -> None:
    assert "split.groups" not in markdown(promoted())
    assert "split.by" in markdown(promoted())


def test_pictures_are_part_of_the_page() -> None:
    attributes = Page(html(promoted(), {"confusion_matrix": PICTURE})).attributes
    assert [value for name, value in attributes if name == "src"] == ["data:image/png;base64,iVBORw0KGgo="]
    assert ("alt", "confusion matrix") in attributes


@CASES
def test_hostile_names_stay_text_and_nothing_is_loaded(make: Callable[[], Evidence]) -> None:
    hostile = (
        '"><script>alert(1)</script><img src=//evil.example/a onerror=b>![c](//evil.example/d)\n# `e` | &amp; \u202e'
    )
    known = {"verdict", "direction", "outcome", "how", "train_on", "loss", "metric"}

    def spoil(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            keep = "latency" in value or "low" in value or "gate" in value or "trial" in value or "verdict" in value
            names = dict.fromkeys(value) if keep or name in keys else {key: f"{key}{hostile}" for key in value}
            return {names[key] or key: spoil(part, key) for key, part in value.items()}
        if isinstance(value, list):
            return [spoil(part, name) for part in value]
        return hostile if isinstance(value, str) and name not in known else value

    keys = {
        "latency",
        "1",
        "64",
        "curves",
        "test",
        "comparison",
        "shipped",
        "slices",
        "provenance",
        "git",
        "hardware",
        "data",
    }
    evidence = spoil(make())
    page = Page(html(evidence, {hostile: PICTURE}))
    assert "<script>alert(1)</script>" in page.text
    assert page.tags.isdisjoint({"script", "link", "iframe", "object", "a", "base", "form"})
    assert [name for name, _ in page.attributes if name.startswith("on") or name == "href"] == []
    assert all(value.startswith("data:image/png;") for name, value in page.attributes if name == "src")
    style = html(evidence).partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    for text in (markdown(evidence), summary(evidence)):
        assert "<" not in text
        assert "](" not in text.replace(r"\](", "")
        assert "\u202e" not in text
        assert all(line.count("|") - line.count(r"\|") in {3, 4} for line in text.splitlines() if line.startswith("| "))


def test_no_secret_and_no_uncommitted_line_is_shown() -> None:
    for evidence in (promoted(), undecided()):
        for text in (html(evidence), markdown(evidence), summary(evidence)):
            assert "hunter2" not in text
            assert "my own words" not in text
    assert "with uncommitted changes (15 characters of difference kept)" in Page(html(promoted())).text


def test_many_finalists_and_slices_are_counted() -> None:
    evidence = promoted()
    evidence["finalists"] += [{**evidence["finalists"][2], "trial": 100 + number} for number in range(27)]
    part = evidence["slices"][0]
    evidence["slices"] = [
        {**part, "name": f"patient {number:03}", "interval": {**part["interval"], "estimate": number / 1000}}
        for number in range(500)
    ]
    assert len(summary(evidence)) < SUMMARY_LIMIT
    text = Page(html(evidence)).text
    assert "Shown are the 20 worst; the other 480 are better." in text
    assert "10 more finalists did no better and are not shown." in text
    assert "patient 499" in text
    assert "patient 479" not in text
    assert text.count("5 seeds\n") == 5, "a panel each for six finalists, one of which has lost a seed"
    assert len(html(evidence)) < 200_000


def test_a_summary_ends_at_its_limit_whatever_is_said() -> None:
    evidence = {**promoted(), "reasons": ["&" * 10_000] * 10, "sweep": "*" * 10_000}
    assert len(summary(evidence)) < SUMMARY_LIMIT


def paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Everything that evidence may lack."""
    optional = {
        "finalists",
        "shipped",
        "test",
        "slices",
        "comparison",
        "measured",
        "checks",
        "provenance",
        "data",
        "at",
        "by",
    }
    always = {("comparison", "is_champion"), ("comparison", "with")}
    for key, part in value.items():
        here = (*path, key)
        if here[0] in optional and here not in always:
            yield here
            if isinstance(part, dict) and len(here) < 3:
                yield from paths(part, here)


@settings(max_examples=40)
@given(make=st.sampled_from([promoted, refused, undecided]), data=st.data())
def test_what_is_missing_is_said_in_words(make: Callable[[], Evidence], data: st.DataObject) -> None:
    evidence = make()
    for path in data.draw(st.lists(st.sampled_from(sorted(paths(evidence))), max_size=8, unique=True)):
        place = evidence
        for key in path[:-1]:
            place = place.get(key) or {}
        place[path[-1]] = None
    before = copy.deepcopy(evidence)
    for text in (Page(html(evidence)).text, markdown(evidence), summary(evidence)):
        assert not re.search(r"\b(None|nan|inf|null|True|False)\b", text)
    assert evidence == before


@pytest.mark.parametrize(
    ("low", "estimate", "high", "said", "between"),
    [
        (0.007, 0.019, 0.031, "is 1.9 points lower than", " (95 % interval: 0.7 to 3.1 points lower)"),
        (-0.02, -0.01, -0.002, "is 1.0 points higher than", " (95 % interval: 0.2 to 2.0 points higher)"),
        (-0.01, 0.02, 0.05, "is 2.0 points lower than", " (95 % interval: 1.0 points higher to 5.0 points lower)"),
        (-0.05, 0.0, 0.05, "equals", " (95 % interval: 5.0 points higher to 5.0 points lower)"),
        (None, 0.01, None, "is 1.0 points lower than", ""),
    ],
)
def test_differences_in_words(low: float | None, estimate: float, high: float | None, said: str, between: str) -> None:
    evidence = promoted()
    evidence["comparison"]["difference"] |= {"low": low, "estimate": estimate, "high": high}
    assert words.difference(evidence) == f"its error {said} that of version 2 on the same 741 test examples{between}"


@pytest.mark.parametrize(
    ("value", "share", "spread", "shown"),
    [
        (0.97123, True, 0.0, "97.1 %"),
        (0.97123, True, 0.0004, "97.123 %"),
        (1234.5678, False, 12.0, "1,235"),
        (-0.0001, False, 0.2, "0.00"),
        (3.2e-9, False, 1e-9, "3.2e-09"),
        (float("nan"), True, 0.0, "unknown"),
        (None, False, 0.0, "unknown"),
    ],
)
def test_digits_follow_what_is_known(value: float | None, share: bool, spread: float, shown: str) -> None:
    assert words.number(value, share, spread=spread) == shown


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6))
def test_ticks_are_few_and_on_the_scale(low: float, width: float) -> None:
    scale = Scale.over([low, low + width])
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 6
    assert all(scale.low <= tick <= scale.high for tick in ticks)
    assert 0 < scale.place(low) < scale.place(low + width) < 1


def test_weights_of_one_more_training() -> None:
    evidence = promoted()
    evidence["shipped"] |= {"train_on": "train+validation"}
    text = Page(html(evidence)).text
    assert "those of one more training, its seed and epochs settled beforehand" in text
    assert "trained on the train and validation splits." in text
