"""The part of an order's page from which programs on this computer ask a rented model."""

from __future__ import annotations

from openstall.ui.desk import Desk
from openstall.ui.documents import Failure, Nothing
from openstall.ui.served import Endpoint
from openstall.ui.trade import Order
from openstall.ui.widgets.figures import CopyId
from openstall.ui.widgets.layout import Facts, Panel, button, row
from openstall.ui.widgets.text import Text


class EndpointPanel(Panel):
    """Opens the endpoint of a served model, and shows address, key and model name."""

    def __init__(self, desk: Desk, order_id: str) -> None:
        super().__init__("Ask the model")
        self._desk = desk
        self._path = f"/v1/orders/{order_id}/endpoint"
        self._looked = False
        self._words = Text("", "small")
        self._address, self._key, self._model = (
            CopyId("", what=what, whole=what != "key") for what in ("address", "key", "model")
        )
        facts = Facts()
        facts.setContentsMargins(0, 0, 0, 0)
        facts.add("Address", self._address)
        facts.add("Key", self._key)
        facts.add("Model", self._model)
        self._open = button("Open an &endpoint", self._ask_open, icon="play", kind="primary")
        self._close = button("C&lose the endpoint", self._ask_close, icon="stop")
        self.body.addWidget(self._words)
        self.body.addLayout(facts)
        self.body.addLayout(row(1, self._open, self._close))
        self._facts = facts
        self._show(Endpoint())
        self.hide()

    def show_order(self, order: Order) -> None:
        """Be there while a served model of ours runs."""
        serves = order.terms.get("job_kind") == "serve" and order.role == "buyer"
        there = serves and order.state == "running" and not order.final
        self.setVisible(there)
        if there and not self._looked:
            self._looked = True
            self._desk.api.get(self._path, Endpoint, self._show, owner=self, failed=self._none)

    def _ask_open(self) -> None:
        self._desk.api.post(self._path, {"port": 0}, Endpoint, self._show, owner=self, failed=self._refused)

    def _ask_close(self) -> None:
        path = f"{self._path}/close"
        self._desk.api.post(path, {}, Nothing, self._closed, owner=self, failed=self._refused)

    def _closed(self, _nothing: Nothing) -> None:
        self._show(Endpoint())

    def _none(self, _failure: Failure) -> None:
        """There is none yet."""

    def _refused(self, failure: Failure) -> None:
        self._words.say(failure.message)

    def _show(self, found: Endpoint) -> None:
        there = bool(found.base_url)
        self._words.say(
            _open_words(found)
            if there
            else "Programs on this computer can ask the model in the manner of the OpenAI API. "
            "Each second is paid until the job ends, also while nobody asks."
        )
        self._address.show_id(found.base_url)
        self._key.show_id(found.key)
        self._model.show_id(found.model)
        for at in range(self._facts.rowCount()):
            self._facts.setRowVisible(at, there)
        self._open.setVisible(not there)
        self._close.setVisible(there)


def _open_words(found: Endpoint) -> str:
    words = "Programs that know the OpenAI API can ask here, on this computer only, until the job ends. "
    if found.moved_from is not None:
        return (
            f"{words}Address and key are new: another program has port {found.moved_from} now, and your "
            "programs may have shown it the old key."
        )
    return f"{words}When your node starts again, it comes back with the same key."
