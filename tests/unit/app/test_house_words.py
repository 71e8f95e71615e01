from __future__ import annotations

from datetime import datetime

import pytest

from openstall.app.services.house_words import buyers_words, duration, owners_words
from openstall.market.house import Decision, Facts, HouseRules, decide

NOW = datetime.fromisoformat("2026-11-28T14:10")
SINCE = round(datetime.fromisoformat("2026-11-28T14:03").timestamp())
USED = decide(HouseRules(idle_s=300), Facts(input_idle_ms=5), NOW)


@pytest.mark.parametrize(
    ("waiting", "then"),
    [
        (0, "Jobs may run again 5 minutes after your last key press or mouse movement."),
        (
            1,
            (
                "One job waits; it goes on 5 minutes after your last key press or mouse movement. "
                "After 10 minutes of waiting it is ended."
            ),
        ),
        (
            2,
            (
                "2 jobs wait; they go on 5 minutes after your last key press or mouse movement. "
                "After 10 minutes of waiting they are ended."
            ),
        ),
    ],
)
def test_the_owner_reads_why_since_when_and_what_makes_it_go_on(waiting: int, then: str) -> None:
    words = owners_words(USED, since=SINCE, now=NOW, waiting=waiting, wait_s=600)
    assert words == ("Paused since 14:03: you are using the computer.", then)


def test_several_reasons_are_all_told() -> None:
    both = decide(HouseRules(idle_s=300, mains_only=True), Facts(input_idle_ms=5, on_battery=True), NOW)
    words, then = owners_words(both, since=SINCE, now=NOW, waiting=0, wait_s=600)
    assert words.endswith("you are using the computer; the computer runs on its battery.")
    assert then == "Jobs may run again when none of this is so any more."


def test_an_open_house_tells_until_when() -> None:
    assert owners_words(Decision(may_take=True, may_go_on=True), since=0, now=NOW, waiting=0, wait_s=1) == (
        "Jobs may run.",
        "",
    )
    open_until = Decision(may_take=True, may_go_on=True, closes_at=datetime.fromisoformat("2026-11-28T18:00"))
    assert owners_words(open_until, since=0, now=NOW, waiting=0, wait_s=1)[0] == "Jobs may run until 18:00."


def test_little_room_is_not_called_a_pause() -> None:
    full = decide(HouseRules(memory_free_bytes_min=2**30), Facts(), NOW)
    words, then = owners_words(full, since=SINCE, now=NOW, waiting=0, wait_s=600)
    assert words.startswith("No new job: only 0 MiB of memory are free")
    assert then == "A running job goes on."


def test_buyers_are_not_told_what_the_owner_does() -> None:
    playing = decide(
        HouseRules(idle_s=300, exclusive_apps=("steam",), temperature_c_max=60),
        Facts(input_idle_ms=5, apps=("steam",), temperature_c=90),
        NOW,
    )
    assert buyers_words(playing, NOW) == "The owner of this machine needs it now."
    opens = Decision(may_take=False, may_go_on=False, opens_at=datetime.fromisoformat("2026-11-28T17:00"))
    assert buyers_words(opens, NOW) == "This machine is not for rent for about 3 h."


def test_durations() -> None:
    assert [duration(value) for value in (0, 1, 60, 90, 600, 3600, 7200)] == [
        "0 seconds",
        "1 second",
        "1 minute",
        "90 seconds",
        "10 minutes",
        "1 hour",
        "2 hours",
    ]
