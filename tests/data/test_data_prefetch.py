import threading
from collections.abc import Iterator

import pytest

from podium.data.prefetch import ahead
from podium.errors import DataError


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_items_come_in_order_from_a_thread_that_ends_with_them() -> None:
    def items() -> Iterator[tuple[int, int]]:
        for number in range(100):
            yield number, threading.get_ident()

    numbers, idents = zip(*ahead(items(), 2), strict=True)
    assert numbers == tuple(range(100))
    assert len(set(idents)) == 1
    assert threading.get_ident() not in idents
    assert not threads()


def test_only_a_few_items_are_made_ahead() -> None:
    made = []
    second = threading.Event()

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            if number == 2:
                second.set()
            yield number

    waiting = ahead(items(), 2)
    assert next(waiting) == 0
    assert second.wait(10)  # item 0 is out, 1 and 2 are made ahead
    assert next(waiting) == 1
    waiting.close()
    assert made[:3] == [0, 1, 2]
    assert len(made) <= 4


def test_an_error_keeps_its_type_and_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise DataError("the shard a.arrow cannot be read")

    waiting = ahead(items(), 2)
    assert next(waiting) == 1
    with pytest.raises(DataError, match=r"a\.arrow cannot be read"):
        next(waiting)
    assert not threads()


@pytest.mark.parametrize("ending", ["close", "drop", "error"])
def test_no_thread_is_left_by_a_consumer_that_stops(ending: str) -> None:
    waiting = ahead(iter(range(100)), 2)
    next(waiting)
    assert threads()
    if ending == "close":
        waiting.close()
    elif ending == "error":
        with pytest.raises(KeyError):
            waiting.throw(KeyError)
    del waiting
    assert not threads()


def test_there_is_no_thread_before_the_first_item_is_asked_for() -> None:
    waiting = ahead(iter(range(100)), 2)
    assert not threads()
    del waiting
