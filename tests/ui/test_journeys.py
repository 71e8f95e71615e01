"""Both journeys by the window alone: rent a machine to train a model, sell it, buy it, run it, pay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hands import push
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QLabel, QLineEdit, QWidget
from pytestqt.qtbot import QtBot

from openstall.app.demo.dataset import LABEL
from openstall.ui.main_window import MainWindow
from openstall.ui.shell import Shell
from openstall.ui.views.buy import BuyPage
from openstall.ui.views.library import LibraryPage
from openstall.ui.views.market import MarketPage
from openstall.ui.views.model import ModelPage
from openstall.ui.views.order import OrderPage
from openstall.ui.views.orders import COLUMNS, OrdersPage
from openstall.ui.views.publish import PublishPage
from openstall.ui.views.rent import RentPage
from openstall.ui.views.sell import SellPage
from tests.support.accessibility import nameless, rich_labels
from tests.support.stage import CREDIT, Market, open_market

WAIT_MS = 120_000


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with open_market(tmp_path_factory.mktemp("market")) as found:
        yield found


def shell_of(qtbot: QtBot, window: MainWindow) -> Shell:
    qtbot.waitUntil(lambda: window.shell is not None and window.shell.page.is_loaded, timeout=WAIT_MS)
    assert window.shell is not None
    return window.shell


def show(qtbot: QtBot, shell: Shell, spec: str) -> QWidget:
    shell.show_view(spec)
    qtbot.waitUntil(lambda: shell.page.is_loaded, timeout=WAIT_MS)
    return shell.page


def texts(inside: QWidget) -> list[str]:
    return [label.text() for label in inside.findChildren(QLabel) if label.isVisible()]


def test_both_journeys_by_the_window_alone(
    qtbot: QtBot, open_window: Callable[[Path], MainWindow], stage: Market
) -> None:
    money = stage.money()

    provider = shell_of(qtbot, open_window(stage.provider.home))
    selling = show(qtbot, provider, "sell")
    assert isinstance(selling, SellPage)
    selling._form.price.setText("0.01")
    push(qtbot, selling, "Start selling")
    qtbot.waitUntil(lambda: stage.provider.get("/v1/status")["selling"], timeout=WAIT_MS)

    seller = shell_of(qtbot, open_window(stage.seller.home))
    market = show(qtbot, seller, "market:compute")
    assert isinstance(market, MarketPage)
    qtbot.waitUntil(lambda: market.offers.model.rowCount() == 1, timeout=WAIT_MS)
    market.offers.choose(market.offers.model.key_of(0))
    qtbot.keyClick(market.offers.view, Qt.Key.Key_Return)
    rent = seller.page
    assert isinstance(rent, RentPage)
    qtbot.waitUntil(lambda: rent.is_loaded, timeout=WAIT_MS)
    qtbot.waitUntil(
        lambda: any("You have not rented here yet." in text for text in texts(rent)), timeout=WAIT_MS
    )
    rent._kind.setCurrentIndex(rent._kind.findData("train"))
    rent._train.data.take(str(stage.train))
    rent._train.label.setText(LABEL)
    rent._max_s.setValue(200)
    assert rent.cap_micro == 2 * CREDIT
    push(qtbot, rent, "Set aside 2.00 and start")
    qtbot.waitUntil(lambda: isinstance(seller.page, OrderPage), timeout=WAIT_MS)
    job = seller.page
    assert isinstance(job, OrderPage)
    qtbot.waitUntil(lambda: job._order.state == "settled", timeout=WAIT_MS)
    qtbot.waitUntil(lambda: "test accuracy" in job._log.toPlainText(), timeout=WAIT_MS)
    push(qtbot, job, "Check this result")
    qtbot.waitUntil(lambda: "Found again, to the last digit" in texts(job), timeout=WAIT_MS)
    assert nameless(job) == []
    assert rich_labels(job) == []

    push(qtbot, job, "Sell this model")
    publish = seller.page
    assert isinstance(publish, PublishPage)
    publish.name.setText("Screening <b>model</b>")
    publish.summary.setPlainText("Tells benign from malignant.")
    publish.price.setText("25")
    publish.metric_value.setText("0.97")
    push(qtbot, publish, "List it for sale")
    qtbot.waitUntil(lambda: isinstance(seller.page, ModelPage), timeout=WAIT_MS)

    buyer = shell_of(qtbot, open_window(stage.buyer.home))
    shop = show(qtbot, buyer, "market")
    assert isinstance(shop, MarketPage)
    shop.search.field.setText("screening")
    qtbot.waitUntil(lambda: shop.models.model.rowCount() == 1, timeout=WAIT_MS)
    shop.models.choose(shop.models.model.key_of(0))
    qtbot.keyClick(shop.models.view, Qt.Key.Key_Return)
    model = buyer.page
    assert isinstance(model, ModelPage)
    qtbot.waitUntil(lambda: model.is_loaded, timeout=WAIT_MS)
    assert "Screening <b>model</b>" in texts(model)
    qtbot.waitUntil(lambda: "wallet belongs to this peer" in texts(model), timeout=WAIT_MS)
    stage.buyer.operate("/v1/wallet/send", to=stage.seller.wallet, amount_micro=980 * CREDIT)
    push(qtbot, model, "Buy…")
    confirm = buyer.page
    assert isinstance(confirm, BuyPage)
    qtbot.waitUntil(lambda: confirm.is_loaded, timeout=WAIT_MS)
    assert "It is short of 5.00 credits." in texts(confirm)
    assert not confirm._pay.isEnabled()
    assert stage.buyer.get("/v1/orders")["total"] == 0
    stage.seller.operate("/v1/wallet/send", to=stage.buyer.wallet, amount_micro=980 * CREDIT)
    push(qtbot, confirm, "Pay 25.00 credits into escrow")
    qtbot.waitUntil(lambda: isinstance(buyer.page, OrderPage), timeout=WAIT_MS)
    bought = buyer.page
    assert isinstance(bought, OrderPage)
    qtbot.waitUntil(lambda: bought._order.verified is True, timeout=WAIT_MS)

    push(qtbot, bought, "Run it on my rows")
    library = buyer.page
    assert isinstance(library, LibraryPage)
    qtbot.waitUntil(lambda: library.table.current() is not None, timeout=WAIT_MS)
    library.rows.take(str(stage.holdout))
    library.label.setText(LABEL)
    push(qtbot, library, "Run")
    qtbot.waitUntil(library._result.isVisible, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: "accuracy" in texts(library), timeout=WAIT_MS)
    assert nameless(library) == []

    order = show(qtbot, buyer, f"orders:{bought._id}")
    assert isinstance(order, OrderPage)
    push(qtbot, order, "Confirm: pay the seller")
    push(qtbot, order, "Yes: confirm: pay the seller")
    qtbot.waitUntil(lambda: order._order.state == "completed", timeout=WAIT_MS)
    qtbot.waitUntil(lambda: stage.money() == money, timeout=WAIT_MS)

    qtbot.waitUntil(lambda: selling._reliability._counts.text() == "1 job done", timeout=WAIT_MS)
    qtbot.waitUntil(lambda: "earned" in selling._earnings.bars.said, timeout=WAIT_MS)
    assert "Processor" in selling._machine.gauges
    assert nameless(selling) == []
    again = show(qtbot, seller, f"rent:{rent._cid}")
    qtbot.waitUntil(lambda: "1 job done" in texts(again), timeout=WAIT_MS)
    push(qtbot, selling, "Stop selling")
    qtbot.waitUntil(lambda: not stage.provider.get("/v1/status")["selling"], timeout=WAIT_MS)
    assert isinstance(order.grab().toImage(), QImage)


def test_a_job_that_failed_is_marked_so_in_the_list_and_on_its_page(
    qtbot: QtBot, open_window: Callable[[Path], MainWindow], stage: Market
) -> None:
    params = {"task": "classification", "label": "no such column", "epochs": 2, "seed": 7}
    order_id = stage.rent(stage.offer(), params=params)
    settled = stage.seller.order_until(
        order_id, lambda o: o["state"] == "settled" and o["outcome"] is not None, 120
    )
    window = shell_of(qtbot, open_window(stage.seller.home))
    orders = show(qtbot, window, "orders")
    assert isinstance(orders, OrdersPage)
    qtbot.waitUntil(lambda: orders.table.model.rowCount() > 0, timeout=WAIT_MS)
    shown = next(order for order in orders._orders if order.order_id == order_id)
    cells = {column.title: column for column in COLUMNS}
    assert cells["State"].text(shown) == "failed"
    assert cells["State"].icon is not None
    assert cells["State"].icon(shown) == ("error", "bad")
    assert cells["Order"].second is not None
    assert cells["Order"].second(shown) == settled["state_words"]
    page = show(qtbot, window, f"orders:{order_id}")
    assert isinstance(page, OrderPage)
    assert page._badge.accessibleName() == "failed"
    assert page._badge.property("tone") == "bad"
    assert page._state.text().startswith("The job failed: ")
    assert texts(page).count(settled["outcome"]["words"]) <= 1  # in the timeline, and not in grey beside it


def test_the_terms_of_the_arbiter_are_shown_before_one_buys(
    qtbot: QtBot, open_window: Callable[[Path], MainWindow], stage: Market, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.safetensors"
    head = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    weights.write_bytes(len(head).to_bytes(8, "little") + head + bytes(4))
    listing = stage.publish(weights)
    window = shell_of(qtbot, open_window(stage.buyer.home))
    page = show(qtbot, window, f"buy:{listing}")
    assert isinstance(page, BuyPage)
    assert "2 % of the price: 0.50 credits, taken only if the arbiter rules." in texts(page)
    assert any(
        text.startswith("Without a ruling within 7 days of the dispute, the whole") for text in texts(page)
    )


def test_both_sides_write_and_the_arbiter_sees_what_they_show(
    qtbot: QtBot, open_window: Callable[[Path], MainWindow], stage: Market, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.safetensors"
    head = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    weights.write_bytes(len(head).to_bytes(8, "little") + head + bytes(4))
    listing = stage.publish(weights, title="Weights", review_s=3600)
    order_id = stage.buyer.post("/v1/orders/buy", listing_cid=listing)["order_id"]
    stage.buyer.order_until(order_id, lambda o: o["state"] == "delivered" and o["verified"], 60)

    buyer = show(qtbot, shell_of(qtbot, open_window(stage.buyer.home)), f"orders:{order_id}")
    assert isinstance(buyer, OrderPage)
    qtbot.waitUntil(buyer._talk.field.isVisible, timeout=WAIT_MS)
    assert not buyer._talk.send.isEnabled()
    buyer._talk.field.setPlainText("It has one <b>number</b> only.")
    push(qtbot, buyer, "Send")
    seller = shell_of(qtbot, open_window(stage.seller.home))
    stage.seller.order_until(order_id, lambda o: o["unread"] == 1, 60)
    orders = show(qtbot, seller, "orders")
    assert isinstance(orders, OrdersPage)
    qtbot.waitUntil(lambda: any(o.unread for o in orders._orders), timeout=WAIT_MS)
    shown = next(order for order in orders._orders if order.order_id == order_id)
    assert COLUMNS[0].second is not None
    assert COLUMNS[0].second(shown).startswith("1 new message · ")
    sold = show(qtbot, seller, f"orders:{order_id}")
    qtbot.waitUntil(lambda: "It has one <b>number</b> only." in texts(sold), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not stage.seller.get(f"/v1/orders/{order_id}")["unread"], timeout=WAIT_MS)
    assert "1 new" in texts(sold), "the mark stays while the page does"

    push(qtbot, buyer, "Open a dispute…")
    (reason,) = [
        one for one in buyer.findChildren(QLineEdit) if one.accessibleName() == "Reason of the dispute"
    ]
    reason.setText("It is not a model.")
    push(qtbot, buyer, "Yes: open a dispute")
    qtbot.waitUntil(lambda: buyer._order.state == "disputed", timeout=WAIT_MS)
    path = tmp_path / "shown.evidence"
    buyer._evidence.save_to(str(path))
    qtbot.waitUntil(path.exists, timeout=WAIT_MS)
    arbiter = show(qtbot, shell_of(qtbot, open_window(stage.provider.home)), f"orders:{order_id}")
    qtbot.waitUntil(lambda: texts(arbiter).count("all of it holds") == 2, timeout=WAIT_MS)
    push(qtbot, arbiter, "Read 1 message that the buyer shows")
    qtbot.waitUntil(lambda: "It has one <b>number</b> only." in texts(arbiter), timeout=WAIT_MS)
    assert "Read by the buyer and the seller." in texts(arbiter)
    assert "Nothing was written yet." in texts(arbiter), "there was no dispute yet when it was written"
    for page in (buyer, sold, arbiter):
        assert nameless(page) == []
        assert rich_labels(page) == []
