from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openstall.ui.sse import MAX_EVENT_BYTES, MAX_LINE_BYTES, EventParser, ServerEvent, StreamBroken

STREAM = (
    b": connected\n\n"
    b'event: order\ndata: {"id":\ndata: "a"}\n\n'
    b"id: 7\r\ndata: plain\r\n\r\n"
    b"event: nothing\n\n"
    b"event: wallet\ndata:{}\n\n"
)
EVENTS = [
    ServerEvent(name="order", data='{"id":\n"a"}'),
    ServerEvent(name="message", data="plain"),
    ServerEvent(name="wallet", data="{}"),
]


@given(st.lists(st.integers(min_value=1, max_value=len(STREAM) - 1), max_size=12))
def test_events_are_the_same_however_the_bytes_arrive(cuts: list[int]) -> None:
    edges = [0, *sorted(set(cuts)), len(STREAM)]
    parser = EventParser()
    found = [event for a, b in pairwise(edges) for event in parser.feed(STREAM[a:b])]
    assert found == EVENTS


def test_a_line_without_end_is_not_kept() -> None:
    parser = EventParser()
    with pytest.raises(StreamBroken):
        parser.feed(b"data: " + b"x" * (MAX_LINE_BYTES + 1))


def test_an_event_without_end_is_not_kept() -> None:
    parser = EventParser()
    line = b"data: " + b"x" * (MAX_LINE_BYTES // 2) + b"\n"
    with pytest.raises(StreamBroken):
        for _ in range(MAX_EVENT_BYTES // (MAX_LINE_BYTES // 2) + 1):
            parser.feed(line)


@given(st.binary(max_size=400))
def test_any_bytes_are_survived(noise: bytes) -> None:
    EventParser().feed(noise)
