"""What is dead of a stream that was copied: nobody needs it, and nothing else is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lsmstore.marks import GONE, low_water
from streams.lending import lent_end, marks

END = 12
positions = st.integers(0, END)


@given(st.one_of(positions, st.just(GONE)), st.lists(st.tuples(positions, positions), max_size=4))
def test_what_is_dead_is_what_nobody_needs(own: int, copies: list[tuple[int, int]]) -> None:
    found = marks(own, copies)
    ends = [end for end, _ in found]
    assert ends == sorted({GONE, *[end for end, _ in copies]})
    assert lent_end(found) == max([end for end, _ in copies], default=0)
    for start, end in zip([0, *ends[:-1]], [*ends[:-1], END], strict=True):
        for pos in range(start, end):  # a run lies between two neighbouring ends
            needed = own <= pos or any(mark <= pos < copy_end for copy_end, mark in copies)
            assert (pos >= low_water(found, start)) == needed, (pos, found)
