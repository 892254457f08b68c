"""What lies in the store and was changed there: one clear error, and nothing of it is run."""

from pathlib import Path

from wiring_cases import podium


def test_code_that_was_changed_in_the_store_is_not_run(quick: Path) -> None:
    first = podium(quick, "launch", "sweep.yaml", "budget.trials=1", "--cluster", "inline", "--json")
    assert first.code == 0, first.problems

    (copy,) = (quick / ".podium" / "code").glob("*/train.py")
    evil = f"open({str(quick / 'was-run')!r}, 'w').close()\n"
    text = copy.read_text()
    copy.write_text(evil + text[len(evil) :])
    assert copy.stat().st_size == len(text), "a glance at its size does not tell"

    again = podium(quick, "launch", "sweep.yaml", "sweep=again", "budget.trials=1", "--cluster", "inline", "--json")
    assert again.code == 2, again.problems
    assert "is not what was launched" in again.problems
    assert "Traceback" not in again.problems
    assert not (quick / "was-run").exists()
