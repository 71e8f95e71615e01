"""What the forms of Sell compute and Rent show of an offer that stands."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from openstall.ui.main_window import MainWindow
from openstall.ui.trade import Body, Compute, Entry, Gpu, Inventory
from openstall.ui.views.rent import RentPage
from openstall.ui.views.sell import SellPage

CARD = Gpu(name="A card", memory_bytes=8 * 2**30)


def test_the_tick_for_scripts_on_cards_comes_back_with_the_offer(qtbot: QtBot, window: MainWindow) -> None:
    assert window.shell is not None
    for allowed in (True, False):
        page = SellPage(window.shell.page.desk)
        qtbot.addWidget(page)
        machine = Inventory(cores_logical=4, memory_bytes=2**33, gpus=[CARD])
        offer = {"price_per_s_micro": 1_000, "threads": 1, "kinds": ["script"], "max_s": 600}
        offer |= {"memory_bytes": 2**30, "gpus": [{"name": "A card", "memory_bytes": 2**33}]}
        page._show(Compute(inventory=machine, offer={"body": offer}, gpu_scripts=allowed, selling=True))
        assert page._form.terms()["gpus"] is True
        assert page._form.terms()["gpu_scripts"] is allowed


def test_an_offer_of_federate_jobs_says_how_they_are_ordered(qtbot: QtBot, window: MainWindow) -> None:
    assert window.shell is not None
    for kinds, words in (
        (["federate"], "takes only federate jobs"),
        (["federate", "train"], "also takes federate jobs"),
        (["train"], ""),
    ):
        page = RentPage(window.shell.page.desk, "cid")
        qtbot.addWidget(page)
        page._show(Entry(author="", body=Body(title="A rig", kinds=kinds, price_per_s_micro=1, max_s=600)))
        assert words in page._by_hand.text()
        assert page._by_hand.isHidden() is (not words)
        if kinds == ["federate"]:
            assert page._kind.isHidden()
            assert page._forms.isHidden()
            assert not page._go.isEnabled()
            assert "can be ordered on this page" in page._why.text()
