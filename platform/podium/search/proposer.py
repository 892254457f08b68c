"""The proposer that the driver asks: one way of drawing points for each `search.sampler`."""

from collections.abc import Mapping, Sequence

from podium.search.method import Method
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Exhausted, Propose, Proposed
from podium.sweep.trial import Trial


class OptunaProposer:
    """Draws parameters as a function of the command and the trials so far, so that a resumed sweep goes on alike.

    Args:
        spec: The sweep.
        prior: Trials of an earlier sweep, which the samplers that learn are shown where its points lie in the space.
    """

    def __init__(self, spec: SweepSpec, prior: Sequence[Trial] = ()) -> None:
        self._method = _method(spec, [trial for trial in prior if trial.state.is_ended])

    def propose(self, command: Propose, trials: Mapping[int, Trial]) -> Proposed | Exhausted:
        """The parameters of trial `command.number`; `command.given` is kept, as far as it is active.

        What is given goes before what mates have in common.
        """
        if command.mates_of is None or command.given:
            point = self._method.draw(command.number, command.given, trials)
        else:
            point = self._method.draw_mate(command.number, trials[command.mates_of], trials)
        if point is None:
            return Exhausted(number=command.number)
        return Proposed(number=command.number, parameters=point.parameters, attributes=point.attributes)


def _method(spec: SweepSpec, prior: Sequence[Trial]) -> Method:
    """Imports what the sampler needs, and no more: Optuna, SciPy and cmaes are slow to start."""
    if spec.search.sampler in ("qmc", "grid"):
        from podium.search.sequences import Grid, Sobol

        return Sobol(spec) if spec.search.sampler == "qmc" else Grid(spec)
    if spec.search.sampler == "list":
        from podium.search.listed import Listed

        return Listed(spec)
    if spec.search.sampler == "cmaes":
        from podium.search.evolution import Evolution

        return Evolution(spec)
    from podium.search.learned import Learned

    return Learned(spec, prior)
