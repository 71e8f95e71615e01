from __future__ import annotations

import sys

import pytest

from openstall.compute_agent.sandbox.seccomp import build_filter
from openstall.market.errors import SandboxError


def test_filter_is_a_bpf_program_and_fork_makes_a_difference() -> None:
    without, with_fork = build_filter(allow_fork=False), build_filter(allow_fork=True)
    assert len(without) % 8 == 0
    assert 100 < len(without) // 8 < 4096
    assert without != with_fork


def test_no_filter_without_libseccomp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(SandboxError) as caught:
        build_filter(allow_fork=False)
    assert caught.value.code == "no_libseccomp"
    assert "libseccomp" in caught.value.what_next
