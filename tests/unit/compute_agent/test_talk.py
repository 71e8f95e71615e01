"""Questions into a sandbox whose job cheats on their count."""

from __future__ import annotations

import pytest

from openstall.compute_agent.sandbox.talk import Talk
from openstall.compute_agent.serving import MOST_OPEN, Answer, Question
from openstall.market.errors import SandboxError


def test_a_job_that_answers_what_it_never_read_gets_no_more_and_ends_nothing() -> None:
    """Its answers make room in the count, while the questions still wait in front of a full pipe."""
    talk = Talk()
    for n in range(1, MOST_OPEN + 1):
        talk.put(Question(n=n, rows=[["1"]]))
        talk._open.take(Answer(n=n, last=True), 10)
    for _ in range(2):
        with pytest.raises(SandboxError) as caught:
            talk.put(Question(n=MOST_OPEN + 1, rows=[["1"]]))
        assert caught.value.code == "too_many_open"
