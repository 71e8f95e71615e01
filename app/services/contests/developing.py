"""What a developer does before it enters: fetch the training data, and practise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from openstall.app.operations import Progress
from openstall.app.services.contests.desk import ContestDesk
from openstall.app.services.contests.entering import Entering, check_entrant
from openstall.app.services.contests.practice import check_practice, keeper_of
from openstall.app.services.contests.talk import ContestTalk
from openstall.app.services.contests.wire import BoardLine
from openstall.app.services.custom.training import save_training
from openstall.app.services.orders.blob_access import BlobAccess
from openstall.market.errors import PeerError
from openstall.market.requests.bodies import RequestBody
from openstall.market.requests.terms import request_in
from openstall.p2p.blob_transfer import BlobTransfer
from openstall.p2p.blobs import BlobStore

POLL_S = 1.0
MOST_WAIT_S = 1_800


@dataclass(slots=True, kw_only=True)
class Developing:
    """Before an entry."""

    desk: ContestDesk
    talk: ContestTalk
    entering: Entering
    access: BlobAccess
    blobs: BlobStore
    transfer: BlobTransfer

    async def practise(self, cid: str, path: Path, progress: Progress) -> dict[str, Any]:
        """Have a model measured, and wait for what the board says of it.

        Raises:
            NotFound: there is no such request.
            Refused: this node cannot take part, or there is no practice in it.
            Conflict: the time is over, or no try is left.
            PeerError: the evaluator who keeps the board cannot be reached, or does not come to it.
            SandboxError: there is no sandbox to check the model in.
        """
        record = await self.desk.catalogue.live_record(cid)
        body = request_in(record)
        check_entrant(record, body, self.desk)
        check_practice(body, self.desk.clock.now())
        keeper = await self._keeper(body)
        before = await self.line(keeper, cid)
        model = await self.entering.seal(cid, path, progress)
        blob = model.delivery.blob.cid
        self.access.grant(blob, keeper)
        progress("Handing the model to the evaluator")
        await self.talk.practise(keeper, cid, model.delivery.as_dict(), model.key)
        progress("Waiting until it was measured")
        with trio.move_on_after(MOST_WAIT_S):
            while True:
                line = await self.line(keeper, cid)
                used = 0 if before is None else before.tries_used
                if line is not None and line.tries_used > used and not line.waiting:
                    await self.blobs.remove(blob)
                    return {
                        "request": cid,
                        "figure": line.figure,
                        "tries_used": line.tries_used,
                        "tries_left": body.tries - line.tries_used,
                    }
                await trio.sleep(POLL_S)
        raise PeerError(
            "not_measured", "The evaluator has not measured the model yet.", "Look at the board later."
        )

    async def line(self, keeper: str, cid: str) -> BoardLine | None:
        """What the board says of this developer; raises PeerError."""
        try:
            lines = (await self.talk.board(keeper, cid)).lines
        except PeerError as error:
            if error.code == "no_such_contest":
                raise _no_keeper("has not taken this contest on (yet)") from error
            raise
        return next((line for line in lines if line.developer == self.desk.my_wallet), None)

    async def training(self, cid: str, folder: Path, progress: Progress) -> dict[str, str]:
        """Write the training data of a contest into a folder; returns its path.

        Raises:
            NotFound: there is no such contest, or it comes without training data.
            Conflict: the file exists already.
            PeerError: the requester cannot be reached now.
            InvalidOrder: what it gave is not what the request names.
        """
        record = await self.desk.catalogue.live_record(cid)
        body = request_in(record)
        check_entrant(record, body, self.desk)
        requester = record.record.author
        return await save_training(
            body,
            lambda: self.talk.training(requester, cid),
            requester,
            folder,
            progress,
            blobs=self.blobs,
            transfer=self.transfer,
        )

    async def _keeper(self, body: RequestBody) -> str:
        peer = await self.desk.catalogue.peer_of(keeper_of(body))
        if peer is None:
            raise _no_keeper("has not told the group where it can be reached")
        return peer


def _no_keeper(why: str) -> PeerError:
    return PeerError("no_keeper", f"The evaluator who measures practice {why}.", "Try again later.")
