from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.data.splits import LEFT_OUT, assign, content_digests, divide, settle, settle_near
from podium.errors import DataError
from podium.spec.data import SplitSettings

SHARES = (0.7, 0.15, 0.15)


@given(
    distinct=st.integers(1, 40),
    copies=st.lists(st.integers(0, 39), max_size=80),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([np.uint8, np.float32]),
)
def test_equal_records_stand_in_one_split(distinct: int, copies: list[int], seed: int, dtype: type) -> None:
    generator = np.random.default_rng(seed)
    records = generator.integers(0, 3, (distinct, 2, 2)).astype(dtype)
    planted = np.concatenate([records, records[[copy % distinct for copy in copies]]])
    planted = planted[generator.permutation(len(planted))]
    where: dict[bytes, set[int]] = {}
    for record, split in zip(planted, assign(content_digests(planted), SHARES), strict=True):
        where.setdefault(record.tobytes(), set()).add(int(split))
    assert all(len(splits) == 1 for splits in where.values())


@given(digests=st.lists(st.integers(0, 2**64 - 1), max_size=50), more=st.lists(st.integers(0, 2**64 - 1)))
def test_a_record_keeps_its_split_when_others_come(digests: list[int], more: list[int]) -> None:
    few = assign(np.array(digests, dtype=np.uint64), SHARES)
    many = assign(np.array(digests + more, dtype=np.uint64), SHARES)
    assert (many[: len(few)] == few).all()


def test_shares_are_met_by_distinct_records() -> None:
    digests = content_digests(np.arange(20_000, dtype=np.int64))
    counts = np.bincount(assign(digests, SHARES), minlength=3)
    assert counts / 20_000 == pytest.approx(SHARES, abs=0.01)


@pytest.mark.parametrize("shares", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.5, 0.0, 0.5), (0.0, 0.4, 0.6)])
def test_a_share_of_zero_gets_nothing(shares: tuple[float, ...]) -> None:
    edges = np.array([0, 2**63 - 1, 2**63, 2**64 - 1], dtype=np.uint64)
    got = set(assign(edges, shares).tolist())
    assert got == {number for number, share in enumerate(shares) if share}


def test_a_digest_is_of_content_not_of_layout() -> None:
    records = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    strided = np.asfortranarray(records)
    assert (content_digests(strided) == content_digests(records)).all()
    assert len(set(content_digests(records).tolist())) == 4


CLASSES = 4


@st.composite
def planted(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Digests with doubles among them, and a class, a group and a time for each."""
    count = draw(st.integers(40, 120))
    source = np.random.default_rng(draw(st.integers(0, 10_000)))
    digests = content_digests(np.arange(count))
    copies = source.integers(0, count, draw(st.integers(0, 30)))
    digests[: len(copies)] = digests[copies]
    groups = np.array([f"patient {number}" for number in source.integers(0, 25, count)])
    return digests, source.integers(0, CLASSES, count), groups, source.integers(0, 30, count)


def together(numbers: np.ndarray, what: np.ndarray) -> bool:
    """Whether what is equal stands in one split."""
    kept = numbers != LEFT_OUT
    return all(len(set(numbers[kept & (what == each)])) <= 1 for each in np.unique(what))


def settings_of(by: str, **more: Any) -> SplitSettings:
    column = {"group": "patient", "time": "hour", "given": "split"}.get(by)
    return SplitSettings(by=by, column=column, **more)  # type: ignore[arg-type]


@given(planted(), st.sampled_from(["content", "group", "stratified", "time", "given"]))
def test_nothing_stands_in_two_splits(made: tuple[np.ndarray, ...], by: str) -> None:
    digests, labels, groups, times = made
    names = np.array(["train", "val", "test"])[np.random.default_rng(len(digests)).integers(0, 3, len(digests))]
    column = {"group": groups, "time": times, "given": names}.get(by)
    found = divide(settings_of(by), digests, labels, column)
    numbers = settle(found, digests, "drop_from_train")
    assert together(numbers, digests)
    assert set(numbers) <= {LEFT_OUT, 0, 1, 2}
    assert (numbers[numbers != LEFT_OUT] == found[numbers != LEFT_OUT]).all(), "who stays, stays where it was"
    for digest in np.unique(digests):
        assert numbers[digests == digest].max() == found[digests == digest].max(), "the last split keeps it"
    if by in ("content", "stratified"):
        assert (numbers == found).all()
    if by in ("group", "time"):
        assert together(found, groups if by == "group" else times)
    if by == "time":
        first = [times[found == number] for number in range(3)]
        assert all(a.max() < b.min() for a, b in pairwise(part for part in first if len(part)))


@given(planted(), st.integers(0, 200))
def test_what_is_given_twice_is_refused_with_its_place(made: tuple[np.ndarray, ...], seed: int) -> None:
    digests, labels, _, _ = made
    names = np.array(["train", "validation", "test"])[np.random.default_rng(seed).integers(0, 3, len(digests))]
    found = divide(settings_of("given"), digests, labels, names)
    behind = np.array([(found[digests == own] > number).any() for own, number in zip(digests, found, strict=True)])
    if not behind.any():
        assert (settle(found, digests, "refuse") == found).all()
        return
    place = np.flatnonzero(behind)[0]
    with pytest.raises(
        DataError, match=rf"^{behind.sum()} records have equal ones .* record {place}\b.*drop_from_train"
    ):
        settle(found, digests, "refuse")


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=60), st.integers(0, 8), st.data())
def test_near_pictures_stand_in_one_split(drawn: list[int], bits: int, data: st.DataObject) -> None:
    hashes = [*drawn]
    for _ in range(10):  # neighbours, some of them a bit too far
        flips = data.draw(st.lists(st.integers(0, 63), max_size=bits + 1, unique=True))
        hashes.append(data.draw(st.sampled_from(drawn)) ^ sum(1 << place for place in flips))
    hashes_of = np.array(hashes, dtype=np.uint64)
    numbers = np.array(
        data.draw(st.lists(st.integers(0, 2), min_size=len(hashes), max_size=len(hashes))), dtype=np.int8
    )
    kept = settle_near(numbers, hashes_of, bits, "drop_from_train")
    for row, own in enumerate(hashes):
        later = [other for other, number in zip(hashes, numbers, strict=True) if number > numbers[row]]
        is_near = any((own ^ other).bit_count() <= bits for other in later)
        assert kept[row] == (LEFT_OUT if is_near else numbers[row])


def test_every_class_has_its_share_in_every_split() -> None:
    digests, labels = content_digests(np.arange(4000)), np.arange(4000) % 7 % 4
    numbers = divide(settings_of("stratified"), digests, labels, None)
    for label in range(CLASSES):
        own = numbers[labels == label]
        assert np.bincount(own, minlength=3) == pytest.approx(np.array(SHARES) * len(own), abs=1)


def test_time_puts_the_latest_into_the_test_split() -> None:
    times = np.random.default_rng(0).permutation(1000)
    numbers = divide(settings_of("time"), content_digests(np.arange(1000)), None, times)
    assert [int(times[numbers == number].min()) for number in range(3)] == [0, 700, 850]


def test_a_source_without_a_validation_split_gets_one_from_train() -> None:
    digests = content_digests(np.arange(2000))
    names = np.where(np.arange(2000) < 1700, "train", "test")
    numbers = divide(settings_of("given"), digests, None, names)
    assert (numbers[1700:] == 2).all()
    assert np.bincount(numbers[:1700])[1] / 1700 == pytest.approx(0.15 / 0.85, abs=0.03)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"by": "group"}, "needs `column`"),
        ({"by": "content", "column": "patient"}, "reads no column"),
        ({"train": 0.9}, "add up to 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SplitSettings(**settings)


def test_splits_that_the_records_cannot_have_are_refused() -> None:
    digests = content_digests(np.arange(30))
    with pytest.raises(DataError, match=r"'stratified', and the targets are no classes"):
        divide(settings_of("stratified"), digests, None, None)
    with pytest.raises(DataError, match=r"says 'holdout', which is no split"):
        divide(settings_of("given"), digests, None, np.array(["holdout"] * 30))
    with pytest.raises(DataError, match=r"1 different times"):
        divide(settings_of("time"), digests, None, np.zeros(30))
