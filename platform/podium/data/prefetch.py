"""Work that is done ahead, in a thread beside the one that needs it."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T], count: int) -> Iterator[T]:
    """The same items, of which up to `count` are made in a thread before they are asked for.

    What making one raises is raised where that item would have been. The thread ends with the iterator, also if that
    is closed, or dropped, before its end.

    Args:
        items: Makes an item when it is asked for the next; used by the thread alone.
        count: How many wait at most.
    """
    end = object()
    thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        waiting = deque(thread.submit(next, items, end) for _ in range(count))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, items, end))
            yield item  # type: ignore[misc]
    finally:
        thread.shutdown(cancel_futures=True)
