"""Sweeps without training: a trial's value is computed from its parameters."""

import math
from dataclasses import replace

from podium.search.proposer import OptunaProposer
from podium.spec.files import parse_sweep
from podium.sweep.messages import Propose, Proposed
from podium.sweep.trial import Trial, TrialState

SPACE = {
    "kind": {"choice": ["a", "b"]},
    "x": {"float": [-3.0, 3.0]},
    "rate": {"log": [1e-4, 1.0]},
    "depth": {"int": [1, 5]},
    "kernel": {"choice": [3, 5], "when": {"kind": "b"}},
}
GRID = {"kind": {"choice": ["a", "b"]}, "depth": {"int": [1, 3]}, "kernel": {"choice": [3, 5], "when": {"kind": "b"}}}
SAMPLERS = ("tpe", "random", "qmc", "cmaes", "gp", "grid")


def make_spec(sampler="tpe", space=SPACE, *, seed=0, **search):
    settings = {"objective": {"metric": "loss", "direction": "minimize"}, "sampler": sampler, "seed": seed}
    several = isinstance(search.get("objective"), list)
    return parse_sweep(
        {
            "sweep": "test",
            "task": "train.py:train",
            "search": {**settings, "space": space, **search},
            "budget": {"trials": 100, "epochs": {"max": 9}, "policy": "none" if several else "asha"},
        }
    )


def make_trial(number=0, parameters=None, state=TrialState.COMPLETE, values=None, **fields):
    values = {9: (float(number),)} if values is None else values
    return Trial(number=number, parameters=parameters or {}, seed=0, state=state, values=values, **fields)


def loss(parameters):
    x, rate = parameters.get("x", 0.0), parameters.get("rate", 0.01)
    return (x - 1) ** 2 + (math.log10(rate) + 2) ** 2 + (parameters.get("kind") == "b")


class Sweep:
    """Asks a proposer, and ends each trial at once."""

    def __init__(self, spec, trials=None, *, prior=(), end=None):
        self.spec, self.trials = spec, dict(trials or {})
        self.proposer = OptunaProposer(spec, prior)
        self.end = end or (
            lambda trial: replace(trial, state=TrialState.COMPLETE, values={9: (loss(trial.parameters),)})
        )

    def ask(self, number=None, mates_of=None, **given):
        number = len(self.trials) if number is None else number
        command = Propose(key=f"propose/{number}", number=number, given=given, mates_of=mates_of)
        return self.proposer.propose(command, self.trials)

    def run(self, count, mates_of=None):
        for _ in range(count):
            answer = self.ask(mates_of=mates_of)
            assert isinstance(answer, Proposed)
            trial = Trial(number=answer.number, parameters=answer.parameters, seed=0, attributes=answer.attributes)
            self.trials[answer.number] = self.end(trial)
        return self

    @property
    def points(self):
        return [dict(trial.parameters) for trial in self.trials.values()]
