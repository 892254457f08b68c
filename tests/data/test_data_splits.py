import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.data.splits import assign, content_digests

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
