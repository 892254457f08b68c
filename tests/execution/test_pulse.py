"""The pulse: silence is counted while this process runs, and not while it was stopped."""

import pytest

pytestmark = pytest.mark.ray


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    import podium.execution.connection  # noqa: F401
    from podium.execution import pulse

    clock = Clock()
    monkeypatch.setattr(pulse, "time", clock)
    return clock


def test_silence_grows_until_something_is_heard(clock: Clock) -> None:
    from podium.execution.pulse import Silence

    silence = Silence(most_s=1.0)
    for _ in range(4):
        clock.now += 0.5
        silence.grow()
    assert silence.grow() == 2.0
    silence.end()
    clock.now += 0.5
    assert silence.grow() == 0.5


def test_a_pause_of_ours_is_nobodys_silence(clock: Clock) -> None:
    from podium.execution.pulse import Silence

    silence = Silence(most_s=1.0)
    clock.now += 3600
    assert silence.grow() == 1.0


def test_a_driver_knows_that_it_was_stopped_until_moments_ago(clock: Clock) -> None:
    from podium.execution.pulse import GONE_S, ORPHANED_S, Beats

    beats = Beats(heartbeat_s=60)
    beats.note_tick()
    clock.now += ORPHANED_S - 1
    assert not beats.was_stopped()
    clock.now += 3600
    assert beats.was_stopped(), "before its first beat after that"
    beats.note_tick()
    assert beats.was_stopped(), "and after it"
    for _ in range(3):
        clock.now += GONE_S / 2
        beats.note_tick()
    assert not beats.was_stopped()
