"""By the window alone: rent a model that answers, open its endpoint, ask; and run a batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from hands import push
from pytestqt.qtbot import QtBot

from openstall.ui.main_window import MainWindow
from openstall.ui.views.order import OrderPage
from openstall.ui.views.orders import OrdersPage
from openstall.ui.views.rent import BATCH, RentPage
from tests.support.accessibility import nameless, rich_labels
from tests.support.stage import CREDIT, open_market
from tests.support.text_model import train_text_model
from tests.ui.test_journeys import WAIT_MS, shell_of, show, texts


@pytest.mark.slow
def test_a_model_that_answers_and_a_batch(
    qtbot: QtBot, open_window: Callable[[Path], MainWindow], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with open_market(tmp_path_factory.mktemp("market")) as stage:
        offer = stage.offer(kinds=["infer", "serve"], jobs_at_once=2)
        model = train_text_model(stage.folder, steps=2)
        shell = shell_of(qtbot, open_window(stage.seller.home))
        rent = show(qtbot, shell, f"rent:{offer}")
        assert isinstance(rent, RentPage)
        assert rent._kind.findData("train") < 0
        rent._kind.setCurrentIndex(rent._kind.findData("serve"))
        rent._by_kind["serve"].model.take(str(model))  # type: ignore[attr-defined]
        rent._max_s.setValue(100)
        rent._top.setText("1,5")
        assert not rent._go.isEnabled()
        rent._top.setText("0.01")
        assert rent.cap_micro == 2 * CREDIT
        push(qtbot, rent, "Set aside 2.00 and start")
        qtbot.waitUntil(lambda: isinstance(shell.page, OrderPage), timeout=WAIT_MS)
        order = shell.page
        assert isinstance(order, OrderPage)
        push(qtbot, order, "Open an endpoint")
        qtbot.waitUntil(lambda: bool(order._endpoint._address._full), timeout=WAIT_MS)
        assert nameless(order) == []
        assert rich_labels(order) == []
        address, key = order._endpoint._address._full, order._endpoint._key._full
        assert key not in " ".join(texts(order))  # who looks over a shoulder reads no key
        headers = {"authorization": f"Bearer {key}"}
        asked = {"model": order._endpoint._model._full, "prompt": "The ", "max_tokens": 3}
        answer = httpx.post(f"{address}/completions", json=asked, headers=headers, timeout=60)
        assert answer.json()["usage"]["completion_tokens"] == 3
        push(qtbot, order, "Close the endpoint")
        qtbot.waitUntil(lambda: not order._endpoint._address._full, timeout=WAIT_MS)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/models", headers=headers)
        push(qtbot, order, "Stop the job")
        qtbot.waitUntil(lambda: order._order.state == "settled", timeout=WAIT_MS)
        assert not order._endpoint.isVisible()

        rent = show(qtbot, shell, f"rent:{offer}")
        assert isinstance(rent, RentPage)
        rent._kind.setCurrentIndex(rent._kind.findData(BATCH))
        rent._batch.model.take(str(model))  # takes no rows: the parts fail, and are not tried again
        rent._batch.table.take(str(stage.holdout))
        rent._batch.rows.setValue(100)
        rent._batch.folder.setText("results")
        assert not rent._go.isEnabled()
        rent._batch.folder.setText(str(stage.folder / "results"))
        push(qtbot, rent, "Set aside", begins=True)
        qtbot.waitUntil(lambda: isinstance(shell.page, OrdersPage), timeout=WAIT_MS)
        page = shell.page
        qtbot.waitUntil(
            lambda: any("0 of 2 parts done, 2 failed · done" in text for text in texts(page)),
            timeout=WAIT_MS,
        )
        assert nameless(page) == []
