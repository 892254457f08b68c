"""How the domains of a search space are written: `{choice: …}`, `{int: …}`, `{float: …}`, `{log: …}`. Pure."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import Discriminator, Field, Strict, Tag, model_validator

from podium.spec.settings import Settings
from podium.spec.space import Choice, Domain, Float, Int, Value

# the classes below have fields named float and int
_Real: TypeAlias = float
_Whole: TypeAlias = int


class When(Settings):
    """Common to all domains.

    Attributes:
        when: The values of other keys under which the parameter is active: one value or a list; all keys must hold.
    """

    when: dict[str, Value] = Field(default_factory=dict)

    def conditions(self) -> dict[str, tuple[Value, ...]]:
        """For each parent the allowed values."""
        return {key: value if isinstance(value, tuple) else (value,) for key, value in self.when.items()}


class FloatDomain(When):
    """A real interval, both ends included.

    Attributes:
        float: The lowest and the highest value.
        log: Whether it is drawn on a log scale.
        step: Distance of the values counted from the lowest; any value if absent.
    """

    float: Annotated[tuple[float, float], Strict(False)]
    log: bool = False
    step: _Real | None = None

    def domain(self) -> Domain:
        """The domain this stands for."""
        return Float(*self.float, log=self.log, step=self.step)

    @model_validator(mode="after")
    def _sound(self) -> "FloatDomain":
        _check_range(*self.float, log=self.log, step=self.step)
        return self


class IntDomain(When):
    """A range of whole numbers, both ends included.

    Attributes:
        int: The lowest and the highest value.
        log: Whether it is drawn on a log scale.
        step: Distance of the values counted from the lowest.
    """

    int: Annotated[tuple[int, int], Strict(False)]
    log: bool = False
    step: _Whole = 1

    def domain(self) -> Domain:
        """The domain this stands for."""
        return Int(*self.int, log=self.log, step=self.step)

    @model_validator(mode="after")
    def _sound(self) -> "IntDomain":
        _check_range(*self.int, log=self.log, step=None if self.step == 1 else self.step)
        return self


class LogDomain(When):
    """A real interval above zero on a log scale.

    Attributes:
        log: The lowest and the highest value.
    """

    log: Annotated[tuple[float, float], Strict(False)]

    def domain(self) -> Domain:
        """The domain this stands for."""
        return Float(*self.log, log=True)

    @model_validator(mode="after")
    def _sound(self) -> "LogDomain":
        _check_range(*self.log, log=True, step=None)
        return self


class ChoiceDomain(When):
    """One of several values.

    Attributes:
        choice: The values, which may be lists.
    """

    choice: Annotated[tuple[Value, ...], Strict(False)] = Field(min_length=1)

    def domain(self) -> Domain:
        """The domain this stands for."""
        return Choice(self.choice)

    @model_validator(mode="after")
    def _distinct(self) -> "ChoiceDomain":
        repeated = [option for index, option in enumerate(self.choice) if option in self.choice[:index]]
        if repeated:
            raise ValueError(f"the option {repeated[0]!r} stands twice")
        return self


def _kind(data: Any) -> str | None:
    """Which domain is written, by the first of its keys that is there."""
    keys = type(data).model_fields if isinstance(data, When) else data if isinstance(data, Mapping) else ()
    return next((f"<{kind}>" for kind in ("choice", "int", "float", "log") if kind in keys), None)


def one_or_several(data: Any) -> str:
    """Tells a list from a single item, for settings that take either."""
    return "<several>" if isinstance(data, list | tuple) else "<one>"


DomainSettings = Annotated[
    Annotated[ChoiceDomain, Tag("<choice>")]
    | Annotated[IntDomain, Tag("<int>")]
    | Annotated[FloatDomain, Tag("<float>")]
    | Annotated[LogDomain, Tag("<log>")],
    Discriminator(
        _kind,
        custom_error_type="domain",
        custom_error_message="a parameter is written {choice: [a, b]}, {int: [low, high]}, {float: [low, high]} or "
        "{log: [low, high]}, and `when` beside it",
    ),
]
"""One domain, told from the others by its key."""

Domains = Annotated[
    Annotated[DomainSettings, Tag("<one>")]
    | Annotated[tuple[DomainSettings, ...], Strict(False), Field(min_length=1), Tag("<several>")],
    Discriminator(one_or_several),
]
"""The domain of a searched key, or several under `when` conditions that exclude each other."""


def _check_range(low: float, high: float, *, log: bool, step: float | None) -> None:
    if low > high:
        raise ValueError(f"the range [{low:g}, {high:g}] is reversed; write [{high:g}, {low:g}]")
    if low == high:
        raise ValueError(
            f"the range [{low:g}, {high:g}] is empty but for one value; set the key outside of the space instead"
        )
    if log and low <= 0:
        raise ValueError(f"a log range must stay above zero, and this one starts at {low:g}")
    if step is not None and (step <= 0 or log):
        raise ValueError(f"the step is {step:g}; a step must be positive, and cannot be combined with log")
    if step is not None and step > high - low:
        raise ValueError(f"the step {step:g} is wider than the range [{low:g}, {high:g}]")
