"""The form for a point: what its fields offer, and what is said of what does not do."""

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from podium.spec.space import Choice, Float, Int, Parameter, Space
from podium.spec.space_checks import check_point
from podium_board.points import Field, fields, read

SPACE = Space(
    (
        Parameter("kind", Choice(("plain", "deep", (3, 5), None, True, 1))),
        Parameter("depth", Int(1, 9, step=2), {"kind": ("deep",)}),
        Parameter("rate", Float(1e-4, 1.0, log=True)),
        Parameter("width", Int(16, 64), {"kind": ("plain",)}),
        Parameter("width", Int(128, 512), {"kind": ("deep",)}),
        Parameter("share", Float(0.0, 1.0, step=0.25), {"task": ("other",)}),
    ),
    {"task": "this"},
)


def problems(**sent: Any) -> dict[str, str]:
    texts = {key: value if key != "kind" else json.dumps(value) for key, value in sent.items()}
    return {each.name: each.problem for each in read(SPACE, texts)[1] if each.problem}


@given(st.data())
def test_every_point_of_the_space_can_be_entered(data: st.DataObject) -> None:
    def choose(parameter: Parameter) -> Any:
        match parameter.domain:
            case Choice(options):
                return data.draw(st.sampled_from(options))
            case Int(low, high, step=step):
                return low + step * data.draw(st.integers(0, (high - low) // step))
            case Float(low, high, step=step):
                steps = data.draw(st.integers(0, 4))
                return low + steps * step if step else data.draw(st.floats(low, high))

    point = SPACE.walk(choose)
    left_out = data.draw(st.sets(st.sampled_from(SPACE.names)))
    kept = {key: value for key, value in point.items() if key not in left_out}
    sent = {key: json.dumps(value) if key == "kind" else f" {value!r} " for key, value in kept.items()}
    found, filled = read(SPACE, sent)
    assert [each.problem for each in filled if each.problem] == []
    assert found == kept
    assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in kept.items()}
    check_point(SPACE, found)


@given(st.dictionaries(st.sampled_from(SPACE.names), st.text(max_size=8)))
def test_whatever_is_entered_is_taken_or_told_of(sent: Mapping[str, str]) -> None:
    point, filled = read(SPACE, sent)
    for each in filled:
        assert each.text == sent.get(each.name, "").strip()
        assert (each.name in point) or bool(each.problem) == bool(each.text)
    if not any(each.problem for each in filled):
        check_point(SPACE, point)


def test_fields_say_what_is_searched_and_where() -> None:
    shown = {each.name: each for each in fields(SPACE)}
    assert shown["depth"].help == "a whole number from 1 to 9, in steps of 2, where kind is deep"
    assert shown["rate"].help == "a number from 0.0001 to 1 (log)"
    assert shown["width"].help == (
        "a whole number from 16 to 64, where kind is plain; or a whole number from 128 to 512, where kind is deep"
    )
    assert [label for _, label in shown["kind"].options] == ["plain", "deep", "(3, 5)", "None", "True", "1"]
    assert isinstance(shown["kind"], Field)


def test_what_does_not_do_is_told_with_what_is_allowed() -> None:
    assert problems(rate="fast") == {"rate": "'fast' is no number; give a number from 0.0001 to 1 (log)"}
    assert problems(rate="nan") == {"rate": "'nan' is no number; give a number from 0.0001 to 1 (log)"}
    assert problems(rate="2") == {"rate": "is outside of what is searched; give a number from 0.0001 to 1 (log)"}
    assert "is outside" in problems(depth="2")["depth"]
    assert "is outside" in problems(depth="1.5")["depth"]
    assert problems(kind="fancy") == {"kind": "is none of the choices"}


def test_what_has_no_meaning_beside_the_other_values_is_refused() -> None:
    assert problems(depth="3") == {}, "the kind is drawn, and may be the one that has a depth"
    assert "has no meaning with the other values" in problems(kind="plain", depth="3")["depth"]
    assert "has no meaning" in problems(share="0.5")["share"], "its parent is set in the sweep file"
    assert problems(kind="deep", width="256") == {}
    assert problems(kind="deep", width="32") == {
        "width": "is outside of what is searched; give a whole number from 128 to 512"
    }
    assert problems(width="32") == {}
