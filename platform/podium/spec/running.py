"""Settings of how trials are run: what they occupy, how they are saved, and how much may go wrong. Pure."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Strict, Tag, model_validator

from podium.spec.domains import one_or_several
from podium.spec.settings import Settings, is_name

AcceleratorType = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]


class RankRange(Settings):
    """How many ranks a trial may have; at each rung it gets those that nobody else needs and that make it faster.

    Attributes:
        min: So many it always has.
        max: More than these it never has.
    """

    min: int = Field(ge=1)
    max: int = Field(ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> "RankRange":
        if self.max % self.min:
            raise ValueError(f"min is {self.min} and max is {self.max}; max must be a multiple of min")
        return self


def _is_number(data: Any) -> str:
    return "<range>" if isinstance(data, Mapping | RankRange) else "<number>"


class Resources(Settings):
    """What one trial occupies.

    Attributes:
        ranks: Processes that train it together; `{min: 1, max: 8}` has the search decide at each rung.
        cpus: Torch's threads in each rank.
        gpus: GPUs of each rank; fractions are allowed.
        accelerator: The type of the hosts' accelerators, as Ray's label `ray.io/accelerator-type` has it, such as
            `H100`; of a list, any of them. Gangs are placed on such hosts only; on any host if absent.
        hosts: Where the ranks of a gang go: on as few hosts as possible (`pack`), on as many (`spread`), or so many on
            each of several hosts.
        strategy: Whether each rank holds the whole network (`replicated`) or a part of every parameter (`sharded`);
            `auto` shards what leaves too little room on a GPU.
    """

    ranks: Annotated[
        Annotated[int, Field(ge=1), Tag("<number>")] | Annotated[RankRange, Tag("<range>")],
        Discriminator(_is_number),
    ] = 1
    cpus: int = Field(default=1, ge=1)
    gpus: float = Field(default=0.0, ge=0)
    accelerator: (
        Annotated[
            Annotated[AcceleratorType, Tag("<one>")]
            | Annotated[tuple[AcceleratorType, ...], Strict(False), Field(min_length=1), Tag("<several>")],
            Discriminator(one_or_several),
        ]
        | None
    ) = None
    hosts: Annotated[
        Annotated[Literal["pack", "spread"], Tag("<name>")] | Annotated[int, Field(ge=1), Tag("<other>")],
        Discriminator(is_name),
    ] = "pack"
    strategy: Literal["auto", "replicated", "sharded"] = "auto"

    @property
    def accelerators(self) -> tuple[str, ...]:
        """The types of accelerators that will do; any will if there is none."""
        one = self.accelerator
        return (one,) if isinstance(one, str) else one or ()

    @property
    def ranks_per_bundle(self) -> int:
        """How many ranks of a gang hold a place together, on one host."""
        return self.hosts if isinstance(self.hosts, int) else 1

    @property
    def fewest_ranks(self) -> int:
        """So many a gang has."""
        return self.ranks if isinstance(self.ranks, int) else self.ranks.min

    @property
    def most_ranks(self) -> int:
        """So many train a trial at most."""
        return self.ranks if isinstance(self.ranks, int) else self.ranks.max

    @property
    def most_gangs(self) -> int:
        """So many gangs train a trial at most."""
        return self.most_ranks // self.fewest_ranks


class ComputeSettings(Settings):
    """How a step is computed; none of it changes what is computed, but for rounding and `norm: microbatch`.

    Attributes:
        precision: What products and convolutions are computed in; weights, sums and optimizers stay float32.
        microbatch: Samples that go through the network at once in each rank; gradients of several such passes add up
            to those of the batch. The rank's whole part of the batch if absent.
        norm: Over what batch norms take their statistics where a batch goes through in parts: `batch` refuses that,
            `microbatch` lets a trial's curve depend on `microbatch` and on its ranks.
        compile: Whether networks go through `torch.compile`, which takes 10 to 20 seconds for each structure and
            worker, and is meant for long trials of large networks. There are no stacks then. On CPUs it needs a C++
            compiler, and made neither of two networks that were tried faster.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    microbatch: int | None = Field(default=None, ge=1)
    norm: Literal["batch", "microbatch"] = "batch"
    compile: bool = False


class CheckpointSettings(Settings):
    """How often a running trial is saved, and how much of that is kept.

    Attributes:
        every_s: Seconds between checkpoints; there is one at every rung besides.
        keep: Checkpoints of a trial that has not ended; the older ones stand in for one that was damaged.
        total_gb: Gigabytes (10^9 bytes) for all checkpoints of the sweep; no limit if absent. Those of losers go first;
            a trial whose checkpoint is gone and that goes on after all begins anew.
    """

    every_s: float = Field(default=60.0, gt=0)
    keep: int = Field(default=2, ge=1)
    total_gb: float | None = Field(default=None, gt=0)


class Retries(Settings):
    """How often a trial is tried again, by cause, before it is failed.

    Attributes:
        worker_lost: After a worker that died.
        exception: After an exception in the task.
        out_of_memory: After memory, of the host or of the device, ran out.
        hang: After `limits.heartbeat_s` without a sign of life.
    """

    worker_lost: int = Field(default=3, ge=0)
    exception: int = Field(default=0, ge=0)
    out_of_memory: int = Field(default=1, ge=0)
    hang: int = Field(default=1, ge=0)


class LimitSettings(Settings):
    """How long Podium waits for what may never come.

    Attributes:
        heartbeat_s: Seconds without a step (a training function's report) after which a worker counts as hung.
        grace_s: Seconds that a worker or driver which is told to leave may take to write checkpoints.
    """

    heartbeat_s: float = Field(default=1800.0, gt=0)
    grace_s: float = Field(default=30.0, gt=0)
