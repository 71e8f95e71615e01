"""A buyer's own program as a rented job: taken only where the owner said so."""

from __future__ import annotations

import pytest
from stage import CREDIT, Market

from openstall.market.errors import OpenstallError

PROGRAM = """
import sys
lines = open("/job/in/table.csv").read().splitlines()
print("counting", flush=True)
open("count.txt", "w").write(sys.argv[1] + " " + str(len(lines)))
"""


def test_a_script_is_run_paid_and_returned_where_it_is_welcome(market: Market) -> None:
    program, table = market.folder / "count.py", market.folder / "table.csv"
    program.write_text(PROGRAM)
    table.write_text("a\n1\n2\n")
    wanted = {
        "kind": "script",
        "inputs": {"script.py": str(program), "table.csv": str(table)},
        "params": {"arguments": ["lines"], "outputs": ["count.txt"]},
        "cap_micro": CREDIT,
    }
    with pytest.raises(OpenstallError) as caught:
        market.rent(market.offer(kinds=["train"]), **wanted)
    assert caught.value.code == "wrong_kind"
    order_id = market.rent(market.offer(kinds=["train", "script"]), **wanted)
    order = market.seller.order_until(
        order_id,
        lambda o: o["state"] == "settled" and o["job"]["artefacts"] and o["job"]["artefacts"][0]["path"],
        120,
    )
    assert order["job"]["result"]["state"] == "done"
    assert order["paid_micro"] > 0
    market.seller.post(f"/v1/orders/{order_id}/save", folder=str(market.folder / "counted"))
    assert (market.folder / "counted" / "count.txt").read_text() == "lines 3"
