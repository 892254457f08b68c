"""The mailbox: order is kept, progress is batched."""

import threading

from podium.execution import mailbox
from podium.execution.mailbox import Mailbox
from podium.sweep.messages import LaneProgress, Progress, Saved


def progress(epoch):
    return Progress(gang="g", lanes=(LaneProgress(trial=0, epoch=epoch, metrics={}),))


def epochs(event):
    return [lane.epoch for lane in event.lanes]


def test_is_empty_at_first():
    assert Mailbox().take(0.0) == []


def test_another_event_takes_progress_along_in_order(monkeypatch):
    monkeypatch.setattr(mailbox, "PROGRESS_EVERY_S", 3600.0)
    box, saved = Mailbox(), Saved(trial=0, epoch=2, folder="f")
    for event in (progress(1), progress(2), saved, progress(3)):
        box.put(event)
    first, second = box.take(0.0)
    assert (epochs(first), second) == ([1, 2], saved)
    assert box.take(0.0) == [], "progress rests here until it is due"
    box.put(saved)
    assert [event.kind for event in box.take(0.0)] == ["progress", "saved"]


def test_progress_is_handed_out_when_it_is_due(monkeypatch):
    monkeypatch.setattr(mailbox, "PROGRESS_EVERY_S", 0.0)
    box = Mailbox()
    box.put(progress(1))
    box.put(progress(2))
    (event,) = box.take(0.0)
    assert epochs(event) == [1, 2]


def test_progress_alone_does_not_wait_for_the_end_of_a_long_question(monkeypatch):
    """A test that fails by its time limit: nothing follows the one epoch, and the question is held for an hour."""
    monkeypatch.setattr(mailbox, "PROGRESS_EVERY_S", 0.05)
    box = Mailbox()
    box.put(progress(1))
    (event,) = box.take(3600.0)
    assert epochs(event) == [1]


def test_an_event_wakes_whoever_waits():
    box, saved, taken = Mailbox(), Saved(trial=0, epoch=1, folder="f"), []
    waiting = threading.Thread(target=lambda: taken.extend(box.take(3600.0)))
    waiting.start()
    box.put(saved)
    waiting.join()
    assert taken == [saved]


def test_nothing_is_lost_or_doubled_between_threads():
    box, seen, sent = Mailbox(), [], 2000

    def send():
        for number in range(sent):
            box.put(Saved(trial=0, epoch=number, folder="f") if number % 7 == 0 else progress(number))
        box.put(Saved(trial=0, epoch=sent, folder="end"))

    sending = threading.Thread(target=send)
    sending.start()
    while not seen or seen[-1] != sent:
        for event in box.take(1.0):
            seen += epochs(event) if isinstance(event, Progress) else [event.epoch]
    sending.join()
    assert seen == list(range(sent + 1))
