"""The latency histogram stays within its bucket of the truth."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tools.bench.latency import Histogram


@given(
    st.lists(st.integers(0, 2**63 - 1), min_size=1),
    st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]),
)
def test_quantiles_are_within_a_bucket_of_the_exact_ones(values: list[int], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    assert histogram.count == len(values)
    exact = next(
        value for rank, value in enumerate(sorted(values), start=1) if rank >= share * len(values)
    )
    found = histogram.quantile_ns(share)
    assert found <= exact
    assert exact - found <= exact // 32


def test_small_values_are_exact_and_none_is_zero() -> None:
    histogram = Histogram()
    assert histogram.quantile_ns(0.5) == 0
    for value in range(64):
        histogram.add(value)
    assert [histogram.quantile_ns(share / 64) for share in range(1, 65)] == list(range(64))
