from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from other_make import OtherMake, other_makes


@pytest.fixture(scope="module")
def other_make() -> Iterator[Callable[..., OtherMake]]:
    with other_makes() as make:
        yield make
