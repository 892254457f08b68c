"""Evidence of three promotions, as `Judged.evidence` has it: one promoted, one refused, one undecided."""

import math
from typing import Any

Evidence = dict[str, Any]


def promoted() -> Evidence:
    """A digits classifier that is better than the champion."""
    return {
        **_about("promoted", ["better than version 2: 14 fewer errors on 750 test examples", "all 6 gates passed"]),
        "finalists": [
            _finalist(
                17,
                0.978,
                [0.971, 0.969, 0.973, 0.970, 0.972],
                {"network.kind": "convnet", "optimizer.learning_rate": 0.0123456},
                chosen=True,
            ),
            _finalist(
                4,
                0.981,
                [0.966, None, 0.961, 0.968, 0.964],
                {"network.kind": "convnet", "optimizer.learning_rate": 0.2},
            ),
            _finalist(
                29,
                0.969,
                [0.952, 0.958, 0.949, 0.961, 0.950],
                {"network.kind": "mlp", "optimizer.learning_rate": 0.003},
            ),
        ],
        "shipped": {
            "how": "best",
            "trials": [2],
            "seeds": [123456789],
            "epochs": [8],
            "train_on": "train",
            "validation": 0.973,
        },
        "test": {
            "data": "3f9a1c2b7d8e4f60",
            "samples": 750,
            "compared": 741,
            "left_out": 9,
            "left_out_why": "version 2 was trained on equal images",
            "reading": 2,
            "alpha": 0.05,
            "tightened": 0.0076,
            "loss": "error",
            "metrics": {"accuracy": 0.9693},
            "other_metrics": {"accuracy": 0.9507},
        },
        "slices": [
            {
                "by": "class",
                "name": str(digit),
                "samples": 75,
                "interval": _interval(error, 0.028, 75, 0),
                "other": _interval(error + step, 0.035, 75, 0),
            }
            for digit, (error, step) in enumerate(
                [
                    (0.013, 0.014),
                    (0.0, 0.013),
                    (0.04, 0.01),
                    (0.053, 0.027),
                    (0.027, 0.0),
                    (0.04, 0.026),
                    (0.013, 0.0),
                    (0.027, 0.04),
                    (0.053, -0.013),
                    (0.04, 0.053),
                ]
            )
        ],
        "comparison": {
            "with": "version 2",
            "is_champion": True,
            "difference": _interval(0.0189, 0.0121, 741),
            "p_better": 0.0016,
            "p_worse": 0.9996,
            "method": "McNemar's exact test; Tango's interval for paired proportions",
            "needed": 1130,
            "detectable": 0.022,
            "wins": 21,
            "losses": 7,
        },
        "checks": [
            {
                "gate": "better",
                "outcome": "passed",
                "reason": "better than version 2 (p = 0.0016, at most 0.0076 is allowed)",
            },
            {"gate": "accuracy >= 0.95", "outcome": "passed", "reason": "0.969"},
            {"gate": "latency_p99_ms", "outcome": "passed", "reason": "2.1 ms, at most 10 ms are allowed"},
            {"gate": "agreement", "outcome": "passed", "reason": "answers differ by 9.5e-07 at most"},
            {"gate": "clean process", "outcome": "passed", "reason": "loads and answers without Podium"},
            {"gate": "bad input", "outcome": "passed", "reason": "wrong shapes, NaN and empty batches are refused"},
        ],
    }


def refused() -> Evidence:
    """The next candidate, which is worse on two hospitals."""
    evidence = promoted()
    sites = [
        ("north", 0.112, 0.041, 180),
        ("lake", 0.094, 0.052, 96),
        ("<b>old town</b>", 0.031, 0.035, 420),
        ("coast", 0.022, 0.031, 310),
        ("hill", 0.04, 0.04, 25),
    ]
    return {
        **evidence,
        **_about(
            "refused",
            [
                "accuracy in group north is 0.888, at least 0.93 is asked for",
                "accuracy of 0.947 lies below the floor of 0.95",
            ],
        ),
        "version": "4",
        "test": {
            **evidence["test"],
            "samples": 1031,
            "compared": 1031,
            "left_out": 0,
            "left_out_why": "",
            "reading": 3,
            "tightened": 0.00338,
            "metrics": {"accuracy": 0.947, "loss": 0.2131},
            "other_metrics": {"accuracy": 0.9612, "loss": 0.1702},
        },
        "slices": [
            {
                "by": "group",
                "name": name,
                "samples": many,
                "interval": _interval(error, 2 * math.sqrt(error * (1 - error) / many), many),
                "other": _interval(other, 2 * math.sqrt(other * (1 - other) / many), many),
            }
            for name, error, other, many in sites
        ],
        "comparison": {
            **evidence["comparison"],
            "with": "version 3",
            "difference": _interval(-0.0142, 0.0139, 1031),
            "p_better": 0.982,
            "p_worse": 0.021,
        },
        "checks": [
            {"gate": "better", "outcome": "open", "reason": "neither better nor worse than version 3 at this level"},
            {"gate": "accuracy >= 0.95", "outcome": "failed", "reason": "0.947"},
            {
                "gate": "accuracy >= 0.93 in each slice",
                "outcome": "failed",
                "reason": "group north 0.888, group lake 0.906",
            },
            *evidence["checks"][2:],
        ],
    }


def undecided() -> Evidence:
    """A regression on a small test set, with no champion yet and much that is not known."""
    return {
        **_about("undecided", ["no better than a trivial answer, as far as 60 test examples can tell"]),
        "model": "rain",
        "version": "1",
        "metric": "validation/mean_absolute_error",
        "direction": "minimize",
        "finalists": [
            _finalist(3, 1.31, [1.52, 1.61, 1.43], {"network.depth": 2}, chosen=True, maximize=False),
            {
                **_finalist(8, 1.40, [1.6], {"network.depth": 3}, maximize=False),
                "interval": {**_interval(1.6, 0, 1), "low": None, "high": None},
            },
            {
                **_finalist(9, 1.55, [1.6], {"network.depth": 1}, maximize=False),
                "values": [None] * 3,
                "interval": None,
                "optimism": None,
                "curves": {},
            },
        ],
        "shipped": {
            "how": "ensemble",
            "trials": [0, 1, 2],
            "seeds": [5, 6, 7],
            "epochs": [9, 9, 8],
            "train_on": "train",
            "validation": None,
        },
        "test": {
            "data": "77aa",
            "samples": 60,
            "compared": 60,
            "left_out": None,
            "left_out_why": "",
            "reading": 1,
            "alpha": 0.05,
            "tightened": 0.0304,
            "loss": "absolute error",
            "metrics": {"mean_absolute_error": 1.58},
            "other_metrics": None,
        },
        "slices": [],
        "comparison": {
            "with": "the mean of the train split",
            "is_champion": False,
            "difference": _interval(0.21, 0.38, 60),
            "p_better": 0.13,
            "p_worse": 0.87,
            "method": "studentized bootstrap of per-example losses",
            "needed": 240,
            "detectable": 0.42,
        },
        "measured": {},
        "checks": [{"gate": "better", "outcome": "open", "reason": "60 test examples do not tell"}],
        "provenance": {
            "git": {},
            "packages": {},
            "hardware": {"cores": 2, "memory_bytes": None, "gpus": []},
            "data": None,
            "code": "",
        },
        "data": {
            "source": {"kind": "parquet", "path": "s3://key:hunter2@bucket/rain"},
            "split": None,
            "rows": {"train": 420, "test": 60},
            "schema": None,
            "licence": "",
        },
    }


def _about(verdict: str, reasons: list[str]) -> Evidence:
    return {
        "promotion": "digits-promotion-1",
        "sweep": "digits",
        "model": "digits",
        "version": "3",
        "at": 1764430000.0,
        "by": "ada",
        "metric": "validation/accuracy",
        "direction": "maximize",
        "level": 0.95,
        "verdict": verdict,
        "reasons": reasons,
        "measured": {
            "latency": {"1": {"p50_s": 0.00062, "p99_s": 0.0021}, "64": {"p50_s": 0.0041, "p99_s": 0.0093}},
            "threads": 2,
            "bytes": 412_345,
            "memory_bytes": 38_000_000,
            "agreement": 9.5e-07,
        },
        "provenance": {
            "git": {
                "commit": "6be614283299a1460c2756e97cf725492aeab342",
                "branch": "main",
                "dirty": True,
                "diff": "+ my own words\n",
            },
            "podium": "0.1.0",
            "python": "3.11.9",
            "platform": "Linux-6.1-x86_64-with-glibc2.36",
            "hardware": {"cores": 2, "memory_bytes": 25_000_000_000, "gpus": []},
            "packages": {"podium": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6"}
            | {f"package-{number}": "1.0" for number in range(174)},
            "command": ["podium", "promote", "digits", "--seeds", "5"],
            "data": "mnist_5k-3f9a1c2b",
            "code": "0a1b2c3d4e5f",
        },
        "data": {
            "source": {"kind": "mnist_5k"},
            "split": {"train": 0.7, "validation": 0.15, "test": 0.15, "by": "content", "groups": None},
            "rows": {"train": 3500, "validation": 750, "test": 750},
            "schema": {"inputs": [1, 28, 28], "classes": 10},
            "licence": "CC BY-SA 3.0; LeCun, Cortes and Burges",
        },
    }


def _finalist(
    trial: int,
    reported: float,
    values: list[float | None],
    parameters: Evidence,
    *,
    chosen: bool = False,
    maximize: bool = True,
) -> Evidence:
    known = [value for value in values if value is not None]
    mean = sum(known) / len(known)
    half = 2.8 * math.sqrt(sum((value - mean) ** 2 for value in known) / max(1, len(known) - 1) / len(known))
    return {
        "trial": trial,
        "parameters": {"network.dropout": 0.25, **parameters},
        "reported": reported,
        "values": values,
        "trials": list(range(len(values))),
        "interval": _interval(mean, half, len(known)),
        "optimism": (reported - mean) * (1 if maximize else -1),
        "chosen": chosen,
        "curves": {
            str(seed): [
                [epoch, value * (1 - math.exp(-epoch / 1.4)) if maximize else value * (1 + math.exp(-epoch / 2))]
                for epoch in range(1, 10)
            ]
            for seed, value in enumerate(known)
        },
    }


def _interval(estimate: float, half: float, count: int, floor: float = -math.inf) -> Evidence:
    return {
        "estimate": estimate,
        "low": max(estimate - half, floor),
        "high": estimate + half,
        "level": 0.95,
        "count": count,
    }
