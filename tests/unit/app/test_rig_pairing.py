"""Who may work for a node: a rig that shows it has the code, once, in time; nobody else, ever."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from hub_lab import hub_lab

from openstall.app.rig.book import Owner
from openstall.app.rig.caller import line_to
from openstall.app.services.rigs.code import LIFE_S, new_code, proof_of, read_code, write_code
from openstall.app.services.rigs.files import RigFiles
from openstall.market.errors import OpenstallError, PeerError
from openstall.p2p.host import PeerHost

NODE = PeerHost(seed=b"\1" * 32).peer_id
RIG = PeerHost(seed=b"\2" * 32).peer_id
ADDRS = ["/ip4/192.0.2.7/tcp/4001/p2p/" + NODE]


def test_a_code_survives_the_way_and_nothing_else_is_one() -> None:
    code = new_code(node=NODE, addrs=ADDRS, now=1000)
    text = write_code(code)
    assert read_code(f"  {text[:40]}\n {text[40:]} ", now=1000) == code
    assert len(code.secret) * 4 == 128
    for bad in ("", text[:-3], text.replace("rig", "group"), text + "x" * 9000, text[:60] + "!" + text[61:]):
        with pytest.raises(OpenstallError) as caught:
            read_code(bad, now=1000)
        assert caught.value.code == "bad_pairing_code"
    with pytest.raises(OpenstallError) as caught:
        read_code(text, now=1001 + LIFE_S)
    assert caught.value.code == "pairing_code_expired"


def test_a_proof_is_bound_to_both_ends() -> None:
    code = new_code(node=NODE, addrs=ADDRS, now=1000)
    proof = code.proof(RIG)
    assert proof == proof_of(code.secret, node=NODE, rig=RIG)
    assert proof != proof_of(code.secret, node=RIG, rig=NODE)
    assert proof != new_code(node=NODE, addrs=ADDRS, now=1000).proof(RIG)


async def test_a_stranger_gets_nothing_but_a_refusal(tmp_path: Path) -> None:
    async with hub_lab(tmp_path) as lab:
        lab.code()
        stranger = await lab.rig()
        for proof in ("", "00" * 32):
            await stranger.call(proof=proof)
            answer = await stranger.hear()
            assert answer.refusal is not None
            assert answer.refusal.code == "not_paired"
            assert await stranger.hung_up()
        assert lab.hub.paired == []
        assert lab.hub.links == []


async def test_a_proof_that_somebody_else_heard_is_worth_nothing(tmp_path: Path) -> None:
    async with hub_lab(tmp_path) as lab:
        rig, thief = await lab.rig(), await lab.rig()
        proof = lab.code().proof(rig.host.peer_id)
        await thief.call(proof=proof)
        assert (await thief.hear()).refusal is not None
        await rig.call(proof=proof)
        assert (await rig.hear()).welcome
        assert [one.peer_id for one in lab.hub.paired] == [rig.host.peer_id]


async def test_a_code_pairs_one_rig_and_only_in_time(tmp_path: Path) -> None:
    async with hub_lab(tmp_path) as lab:
        code = lab.code()
        first, second, late = await lab.rig(), await lab.rig(), await lab.rig()
        answers = []

        async def try_it(rig: object) -> None:
            await rig.call(proof=code.proof(rig.host.peer_id))  # type: ignore[attr-defined]
            answers.append(await rig.hear())  # type: ignore[attr-defined]

        async with trio.open_nursery() as nursery:
            for rig in (first, second):
                nursery.start_soon(try_it, rig)
        assert sorted(bool(answer.welcome) for answer in answers) == [False, True]
        assert len(lab.hub.paired) == 1

        stale = lab.code()
        lab.clock.ahead_s += LIFE_S + 1
        await late.call(proof=stale.proof(late.host.peer_id))
        assert (await late.hear()).refusal is not None
        assert len(lab.hub.paired) == 1


async def test_a_rig_is_known_by_its_key_from_then_on(tmp_path: Path) -> None:
    async with hub_lab(tmp_path) as lab:
        rig = await lab.paired()
        before = lab.hub.link(rig.host.peer_id)
        await rig.call(name="tower 2")
        assert (await rig.hear()).welcome
        assert lab.hub.link(rig.host.peer_id) is not before
        assert [one.name for one in lab.hub.paired] == ["tower 2"]
        await lab.hub.unpair(rig.host.peer_id)
        assert (await rig.hear()).unpaired
        await rig.call()
        answer = await rig.hear()
        assert answer.refusal is not None
        assert answer.refusal.code == "not_paired"


async def test_a_rig_talks_to_no_other_node_at_the_address_of_its_own(tmp_path: Path) -> None:
    """Whoever takes the node's address has not its key."""
    async with hub_lab(tmp_path) as lab, PeerHost(seed=b"\3" * 32, listen=()) as rig:
        addrs = tuple(one.split("/p2p/")[0] for one in lab.host.addrs)
        owner = Owner(peer_id=NODE, addrs=addrs, name="mine", paired_at=0)
        with pytest.raises(PeerError):
            async with line_to(rig, owner, name="tower"):
                pass
        assert lab.hub.paired == []


async def test_files_of_jobs_are_for_the_one_rig_only(tmp_path: Path) -> None:
    async with hub_lab(tmp_path) as lab:
        rig, other = await lab.paired(), await lab.paired()
        files = lab.hub._files
        assert files is not None
        path = tmp_path / "data.csv"
        path.write_bytes(b"1,2\n" * 1000)
        one = await files.offer(path, rig.host.peer_id)
        with pytest.raises(PeerError):
            await other.files.bring(one, lab.host.peer_id, tmp_path)
        (tmp_path / "there").mkdir()
        await rig.files.bring(one, lab.host.peer_id, tmp_path / "there")
        assert (tmp_path / "there" / "data.csv").read_bytes() == path.read_bytes()
        await files.drop([one], rig.host.peer_id)
        assert not files.store.have(one.cid)
        with pytest.raises(PeerError):
            await rig.files.bring(one, lab.host.peer_id, tmp_path)


async def test_the_same_file_of_two_jobs_stays_until_the_last(tmp_path: Path) -> None:
    async with PeerHost(seed=b"\4" * 32, listen=()) as host:
        files = RigFiles.fresh(tmp_path / "files")
        files.serve(host)
        path = tmp_path / "data.csv"
        path.write_bytes(b"1,2\n")
        first, second = await files.offer(path, RIG), await files.offer(path, NODE)
        await files.drop([first], RIG)
        assert files.store.have(second.cid)
        assert not files._allowed(second.cid, RIG)
        assert files._allowed(second.cid, NODE)
        await files.drop([second], NODE)
        assert not files.store.have(second.cid)
