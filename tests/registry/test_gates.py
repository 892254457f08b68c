"""Gates: what each says of figures that are known, and what all say together."""

import numpy as np
import pytest

from podium.errors import SpecError
from podium.registry import gates
from podium.registry.evidence import compare
from podium.registry.examination import Examination, Latency
from podium.registry.gates import Check
from podium.spec.promotion import GateSettings, PromotionSettings, parse_promotion

PASSED, FAILED, OPEN = (Check(outcome, outcome, outcome) for outcome in ("passed", "failed", "open"))


@pytest.mark.parametrize(
    ("checks", "verdict", "reasons"),
    [
        ([PASSED], "promoted", ("all 1 gates passed",)),
        ([PASSED, OPEN], "undecided", ("open",)),
        ([OPEN, FAILED, PASSED], "refused", ("failed",)),
        ([Check("better", "passed", "it is better"), PASSED], "promoted", ("it is better", "all 2 gates passed")),
    ],
)
def test_one_that_failed_refuses_and_one_that_is_open_leaves_it_open(checks, verdict, reasons):
    assert gates.verdict(checks) == (verdict, reasons)


def judged(candidate, champion, alpha=0.05, margin=0.0):
    errors = [np.array([1.0] * wrong + [0.0] * (1000 - wrong)) for wrong in (candidate, champion)]
    return gates.better(compare(errors[0], errors[1][::-1].copy()), "version 2", "", alpha=alpha, margin=margin)


def test_better_needs_evidence_and_worse_is_refused():
    assert judged(50, 120).outcome == "passed"
    assert judged(120, 50).outcome == "failed"
    undecided = judged(50, 55)
    assert undecided.outcome == "open"
    assert "not shown to be better than version 2" in undecided.reason
    assert "with a probability of 80%; to find one as large as that seen, about" in undecided.reason


def test_one_that_is_cheaper_may_be_worse_by_the_margin():
    assert judged(60, 50, margin=0.1).outcome == "passed"
    assert "cheaper, and by less than 0.1 worse than version 2" in judged(60, 50, margin=0.1).reason
    assert judged(300, 50, margin=0.1).outcome == "failed"


def test_what_cannot_be_judged_is_refused():
    assert gates.finite(np.zeros(3)).outcome == "passed"
    check = gates.finite(np.array([0.0, np.nan, np.inf]))
    assert (check.outcome, "2 of 3" in check.reason) == ("failed", True)


def test_a_split_that_was_read_too_often_says_so():
    draws = np.random.default_rng(0).normal(size=(2, 50))
    check = gates.better(compare(draws[0], draws[1]), "version 2", "", alpha=1e-6, margin=0.0)
    assert "read so often that nothing can be shown" in check.reason


def test_what_cannot_be_compared_leaves_it_open():
    check = gates.better(None, "version 2", "it takes other images", alpha=0.05, margin=0.0)
    assert (check.outcome, "it takes other images" in check.reason) == ("open", True)


def test_floors():
    texts = ["accuracy >= 0.9", "accuracy >= 0.99", "acuracy >= 0.5"]
    checks = list(gates.floors(texts, {"accuracy": 0.95}))
    assert [check.outcome for check in checks] == ["passed", "failed", "open"]
    assert "did you mean 'accuracy'" in checks[2].reason


def test_slices_name_those_that_miss():
    found = [
        {"by": "class", "name": name, "samples": 30, "interval": {"estimate": loss}}
        for name, loss in [("cat", 0.1), ("dog", 0.4), ("cow", 0.3), ("hen", 0.35), ("pig", 0.5)]
    ]
    (missed,) = gates.slices(["accuracy >= 0.8"], found, "error")
    assert missed.outcome == "failed"
    assert "class dog (0.6, 30 samples)" in missed.reason
    assert "and 1 more" in missed.reason
    assert "cat" not in missed.reason
    outcomes = [
        next(gates.slices([text], slices, loss)).outcome
        for text, slices, loss in [
            ("loss <= 0.5", found, "error"),
            ("accuracy >= 0.1", found, "squared error"),
            ("loss <= 0.5", [], "error"),
        ]
    ]
    assert outcomes == ["passed", "open", "open"]


def test_what_is_measured_is_held_against_limits():
    latencies = (Latency(64, 200, 1.0, 2.0), Latency(1, 200, 0.010, 0.030))
    found = Examination(3_000_000, 100, 50_000_100, 2, latencies, {"NaN": "", "text": "refused"}, {})
    settings = GateSettings(latency_p50_ms=20, latency_p99_ms=20, megabytes=3, memory_megabytes=49)
    outcomes = {check.gate: check.outcome for check in gates.measured(settings, found, 0.5)}
    assert outcomes == {
        "clean process": "passed",
        "bad input": "failed",
        "agreement": "failed",
        "latency p50": "passed",
        "latency p99": "failed",
        "size": "passed",
        "memory": "failed",
    }
    assert "latency p50" not in {check.gate for check in gates.measured(GateSettings(), found, 0.0)}


def test_a_gate_of_ones_own():
    assert [gates.own("g.py:f", answer).outcome for answer in (None, True, "unfair")] == ["passed", "passed", "failed"]
    for answer in (False, 0, ""):
        with pytest.raises(SpecError, match="has to return why the candidate fails, or None"):
            gates.own("g.py:f", answer)


def test_settings_that_cannot_be():
    assert parse_promotion({}) == PromotionSettings()
    for settings, problem in [
        ({"gates": {"floors": ["accuracy"]}}, "promotion.gates.floors"),
        ({"gates": {"level": 0.2}}, "promotion.gates.level"),
        ({"seeds": 1}, "promotion.seeds"),
    ]:
        with pytest.raises(SpecError, match=problem):
            parse_promotion(settings)
