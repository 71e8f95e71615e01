"""A market of real nodes for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import Market, open_market


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """A market for the tests of one module."""
    with open_market(tmp_path_factory.mktemp("market")) as opened:
        yield opened


@pytest.fixture(scope="module")
def model(market: Market) -> Path:
    """A real model, trained as a rented job in this market."""
    order_id = market.rent(market.offer())
    market.seller.order_until(
        order_id,
        lambda order: order["state"] == "settled" and bool(order["job"]["artefacts"][0]["path"]),
        180,
    )
    folder = market.folder / "trained"
    market.seller.post(f"/v1/orders/{order_id}/save", folder=str(folder))
    return folder / "model.onnx"
