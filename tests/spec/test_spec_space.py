"""Spaces: conditions, grids, signatures."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import SpecError
from podium.spec.space import Choice, Float, Int, Parameter, Space, fusible_because, signature
from podium.spec.space_checks import check_point

KIND = Parameter("kind", Choice(("mlp", "convnet")))
KERNEL = Parameter("kernel", Choice((3, 5)), {"kind": ("convnet",)})
DEEP = Parameter("deep", Int(1, 2), {"kernel": (5,)})


def test_parents_come_first_whatever_the_order():
    assert [parameter.name for parameter in Space((DEEP, KERNEL, KIND)).parameters] == ["kind", "kernel", "deep"]


def test_a_child_of_an_inactive_parent_is_inactive_and_absent():
    space = Space((KIND, KERNEL, DEEP))
    assert space.walk(lambda parameter: parameter.domain.values()[0]) == {"kind": "mlp"}
    assert space.walk(lambda parameter: parameter.domain.values()[-1]) == {"kind": "convnet", "kernel": 5, "deep": 2}
    assert not space.contains({"kind": "mlp", "kernel": 5})
    assert not space.contains({"kind": "convnet"})


def test_the_grid_is_every_point_of_the_space_once():
    space = Space((KIND, KERNEL, DEEP))
    points = list(space.grid())
    assert len(points) == 1 + 1 + 2
    assert all(space.contains(point) for point in points)
    with pytest.raises(SpecError, match="continuous"):
        next(Space((Parameter("x", Float(0, 1)),)).grid())


def test_conditions_may_name_fixed_settings():
    assert "kernel" in Space((KERNEL,), {"kind": "convnet"}).walk(lambda parameter: 3)
    assert Space((KERNEL,), {"kind": "mlp"}).walk(lambda parameter: 3) == {}


def test_cycles_and_strangers_are_refused():
    with pytest.raises(SpecError, match="cycle"):
        Space((Parameter("a", Int(1, 2), {"b": (1,)}), Parameter("b", Int(1, 2), {"a": (1,)})))
    with pytest.raises(SpecError, match="neither searched nor set"):
        Space((KERNEL,))


@given(low=st.floats(-1e3, 1e3), width=st.floats(0.01, 1e3), parts=st.floats(1, 50))
def test_every_value_of_a_stepped_float_lies_in_it(low, width, parts):
    domain = Float(low, low + width, step=width / parts)
    values = domain.values()
    assert all(domain.contains(value) for value in values)
    assert len(values) in (math.floor(parts), math.floor(parts) + 1)


def test_an_option_is_of_its_own_type():
    assert Choice((1, "a")).contains(1)
    assert not Choice((1, "a")).contains(True)
    assert not Int(1, 3).contains(True)
    assert not Int(1, 3).contains(2.0)


def test_fusible_parameters_leave_the_signature_alone():
    assert fusible_because("optimizer.learning_rate")
    assert fusible_because("initializer.scheme")
    assert fusible_because("network.depth") is None
    assert fusible_because("data.batch_size") is None
    one = signature({"network.depth": 2, "optimizer.learning_rate": 0.1}, {"network.width": 8})
    assert one == (("network.depth", 2), ("network.width", 8))


def test_a_point_is_checked_by_itself():
    space = Space((KIND, KERNEL))
    check_point(space, {"kernel": 3})
    with pytest.raises(SpecError, match="did you mean 'kernel'"):
        check_point(space, {"kernal": 3})
    with pytest.raises(SpecError, match="outside of its domain, one of 3, 5"):
        check_point(space, {"kernel": 4})
