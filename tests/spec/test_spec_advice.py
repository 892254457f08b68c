"""Warnings: what a sweep asks for and will not get."""

import pytest

from podium.spec.advice import warnings
from podium.spec.files import parse_sweep

SPACE = {"network.width": {"int": [8, 64]}, "optimizer.learning_rate": {"log": [1e-4, 1.0]}}


def advice(space=SPACE, budget=None, search=None, **settings):
    tree = {
        "sweep": "test",
        "task": "classification",
        "data": {"source": "mnist_5k"},
        "search": {
            "objective": {"metric": "validation/loss", "direction": "minimize"},
            "space": space,
            **(search or {}),
        },
        "budget": {"trials": 8, "epochs": {"max": 9}, **(budget or {})},
        **settings,
    }
    return warnings(parse_sweep(tree))


def test_nothing_to_say():
    assert advice() == []


HEADS = {"size": {"kind": "regression", "targets": [0]}}
NORMAL = {"initializer": {"scheme": "small_normal", "scale": 0.01}}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"search": {"sampler": "gp"}}, "complete and running trials only"),
        ({"search": {"sampler": "cmaes"}}, "learns from complete trials only"),
        ({"search": {"sampler": "random", "prior": "old"}}, "search.prior: random does not learn"),
        ({"parameters": {"trees": 3}}, "parameters: the built-in task"),
        ({"initializer": {"scheme": "he_normal", "scale": 2.0}}, "initializer.scale: is ignored"),
        ({"network": {"kind": "mlp", "kernel": 3}}, "network.kernel: is ignored, since network.kind is mlp"),
        ({"optimizer": {"momentum": 0.9}}, "optimizer.momentum: is ignored"),
        ({"loss": {"gamma": 1.0}}, "loss.gamma: is ignored, since loss.kind is auto; focal would read it"),
        ({"task": "regression", "loss": {"label_smoothing": 0.1}}, "loss.label_smoothing: is ignored by the task regr"),
        ({"task": "multi_output", "loss": {"kind": "focal"}, "heads": HEADS}, "write heads.NAME.loss"),
        (
            {"loss": {"class_weights": "balanced"}, "data": {"source": "digits", "sampling": "balanced"}},
            "on top of data.sampling",
        ),
        ({"schedule": {"floor": 0.1}}, "schedule.floor: is ignored, since schedule.kind is constant"),
        (
            {"space": {"optimizer.kind": {"choice": ["sgd", "adam"]}, "optimizer.momentum": {"float": [0, 0.9]}}},
            "add `when: {optimizer.kind: [sgd]}`",
        ),
        (
            {"space": {"network.depth": {"int": [1, 2], "when": {"network.kind": "convnet"}}}},
            "search.space.network.depth: is never active, since network.kind is set to 'mlp'",
        ),
        (
            {"space": {"network.depth": {"int": [1, 2]}}, "search": {"sampler": "grid"}},
            "the grid holds 2 points, and 8 trials are asked for",
        ),
        (
            {
                "space": {"network.depth": {"int": [1, 2]}, "optimizer.kind": {"choice": ["sgd", "adam"]}},
                "search": {"sampler": "cmaes"},
                "budget": {"policy": "none"},
            },
            "cmaes draws optimizer.kind at random",
        ),
    ],
)
def test_warns(settings, words):
    said = [sentence for sentence in advice(**settings) if words in sentence]
    assert len(said) == 1


@pytest.mark.parametrize(
    "settings",
    [
        NORMAL,
        {"network": {"kind": "convnet", "kernel": 3}},
        {"search": {"sampler": "gp"}, "budget": {"policy": "none"}},
        {
            "space": {
                "optimizer.kind": {"choice": ["sgd", "adam"]},
                "optimizer.momentum": {"float": [0, 0.9], "when": {"optimizer.kind": "sgd"}},
            }
        },
    ],
)
def test_is_silent_where_all_is_used(settings):
    assert advice(**settings) == []
