"""Settings of when a sweep ends, and what a trial may take. Pure."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from podium.spec.settings import Settings

Policy = Literal["asha", "asha_stop", "hyperband", "median", "none"]

CPU, GPU = "cpu", "gpu"
"""The prices that are asked for where no host's own name has one."""


class Epochs(Settings):
    """Epochs (a training function's steps) a trial may take: rungs are min x factor^k below max, then max.

    Attributes:
        min: The first rung.
        max: The full budget of a trial.
        factor: What separates a rung from the next.
    """

    min: int = Field(default=1, ge=1)
    max: int = Field(ge=1)
    factor: int = Field(default=3, ge=2)

    @model_validator(mode="after")
    def _ordered(self) -> "Epochs":
        if self.min > self.max:
            raise ValueError(f"min is {self.min} and max is {self.max}; the first rung must not lie above the last")
        return self


class Budget(Settings):
    """When a sweep ends.

    Attributes:
        trials: How many trials; may be raised later.
        epochs: What a trial may take.
        policy: Which trials get more than `epochs.min`.
        wall_time: Seconds of running, all launches together; none if absent.
        gpu_hours: Hours of GPUs that training may take, all launches together; none if absent. As they run out, no new
            trials are started and the best ones are trained on; at the end running trials are halted. May be raised
            later.
        cost: Money that training may cost by `prices`, likewise.
        prices: What an hour of a device costs: of a GPU by its type or by the group of its host (Ray's labels
            `ray.io/accelerator-type` and `ray.io/node-group`), as in `{H100: 4.10, spot-h100: 1.90}`, where the group
            comes first; `gpu` is that of other GPUs, `cpu` that of a core, which a group's stands for where trials use
            no GPU. GPUs that none of them names cost as much as the dearest.
        target: Value of the objective at which the sweep is done; none if absent.
        failures: Failed trials after which the sweep is failed.
    """

    trials: int = Field(ge=1)
    epochs: Epochs
    policy: Policy = "asha"
    wall_time: float | None = Field(default=None, gt=0)
    gpu_hours: float | None = Field(default=None, gt=0)
    cost: float | None = Field(default=None, gt=0)
    prices: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    target: float | None = None
    failures: int = Field(default=5, ge=1)

    @model_validator(mode="after")
    def _priced(self) -> "Budget":
        if self.cost is not None and not any(self.prices.values()):
            raise ValueError(f"cost is {self.cost:g}, and `prices` has none; write `prices: {{H100: 4.1, cpu: 0.05}}`")
        return self

    def hourly(self, group: str, accelerator: str, cpus: float, gpus: float) -> float:
        """What an hour of some devices of a host costs.

        Args:
            group: The group of the host; empty if it has none.
            accelerator: The type of its GPUs; empty if nobody knows it.
            cpus: How many cores.
            gpus: How many GPUs.
        """
        core = self.prices.get(CPU, 0.0)
        if not gpus:
            return cpus * self.prices.get(group, core)
        dearest = max((price for name, price in self.prices.items() if name != CPU), default=0.0)
        known = (self.prices[name] for name in (group, accelerator, GPU) if name in self.prices)
        return cpus * core + gpus * next(known, dearest)
