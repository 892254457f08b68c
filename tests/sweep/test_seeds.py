"""Trial seeds."""

from podium.sweep.seeds import splitmix64, trial_seed
from podium.testing.simulation import toy_spec


def test_splitmix64_gives_the_published_sequence():
    """The first outputs for the seed 1234567, from the reference implementation of Vigna."""
    state, outputs = 1234567, []
    for _ in range(3):
        outputs.append(splitmix64(state))
        state += 0x9E3779B97F4A7C15
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_the_searched_seed_comes_first_then_the_sweeps_then_a_hash():
    assert trial_seed(toy_spec(seed=5), 3, {"seed": 7}) == 7
    assert trial_seed(toy_spec(seed=5), 3, {}) == 5
    hashed = [trial_seed(toy_spec(), number, {}) for number in range(1000)]
    assert len(set(hashed)) == 1000
    assert all(0 <= seed < 2**62 for seed in hashed)


def test_another_search_seed_gives_other_trial_seeds():
    assert trial_seed(toy_spec(search={"seed": 1}), 0, {}) != trial_seed(toy_spec(), 0, {})
