"""`openstall blobs`: the files that this node keeps for its market, and the limits for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from openstall.app.cli.context import Cli, command
from openstall.app.cli.output import size_words

MIB, GIB = 1024**2, 1024**3


@click.group()
def group() -> None:
    """Packages, inputs and results in the blob store."""


@group.command(name="list")
@command
def list_blobs(cli: Cli) -> None:
    """Every file, the longest unused last, and why it stays."""
    found = cli.api.get("/v1/blobs")
    for item in found["items"]:
        item["stays"] = item["why"] or "may go"
        item["what"] = "encrypted package" if item["sealed"] else "file of a job or request"
        item["given"] = "to all" if item["shared"] else "-"
    if cli.output.as_json:
        cli.output.document(found)
        return
    cli.output.rows(
        found,
        [("FILE", "cid"), ("SIZE", "size"), ("WHAT", "what"), ("STAYS", "stays"), ("GIVEN", "given")],
        empty="No files yet.",
    )
    click.echo(_summary(found))


def _summary(found: dict[str, Any]) -> str:
    use = (
        f"{size_words(found['used_bytes'])} in use, {size_words(found['can_go_bytes'])} of it may go; "
        f"{size_words(found['received_bytes'])} received and {size_words(found['sent_bytes'])} sent "
        "since the start."
    )
    lines = [use, _limit_words(found["limits"])]
    lines += [f"Blamed: {one['source']}: {one['reason'].replace('_', ' ')}" for one in found["blamed"][:10]]
    return "\n".join(lines)


def _limit_words(limits: dict[str, Any]) -> str:
    def speed(per_s: int) -> str:
        return f"{size_words(per_s)}/s" if per_s else "no limit"

    quota = size_words(limits["quota_bytes"]) if limits["quota_bytes"] else "no limit"
    shared = "given to others" if limits["share"] else "not given to others"
    return (
        f"Up: {speed(limits['up_per_s'])}. Down: {speed(limits['down_per_s'])}. Disk: {quota}. "
        f"Bought packages (encrypted) are {shared}."
    )


@group.command()
@click.option("--up", type=click.FloatRange(min=0), help="MiB a second to others; 0 is no limit.")
@click.option("--down", type=click.FloatRange(min=0), help="MiB a second from others; 0 is no limit.")
@click.option("--disk", type=click.FloatRange(min=0), help="GiB on the disk; 0 is no limit.")
@click.option(
    "--share/--no-share", default=None, help="Give bought packages, encrypted as they are, to others."
)
@command
def limit(cli: Cli, up: float | None, down: float | None, disk: float | None, share: bool | None) -> None:
    """Change limits, or show them when none is named."""
    if up is down is disk is share is None:
        limits = cli.api.get("/v1/blobs")["limits"]
    else:
        limits = cli.api.post(
            "/v1/blobs/limits",
            up_per_s=None if up is None else int(up * MIB),
            down_per_s=None if down is None else int(down * MIB),
            quota_bytes=None if disk is None else int(disk * GIB),
            share=share,
        )
    cli.output.document(limits, _limit_words(limits))


@group.command()
@click.option("--all", "everything", is_flag=True, help="Not only what is above the limit of disk space.")
@command
def gc(cli: Cli, everything: bool) -> None:
    """Remove files that nobody needs, the longest unused first."""
    done = cli.api.post("/v1/blobs/collect", everything=everything)
    cli.output.document(done, f"{done['removed']} files removed, {size_words(done['freed_bytes'])} freed.")


@group.command()
@click.argument("cid")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@command
def export(cli: Cli, cid: str, folder: Path) -> None:
    """Copy the file CID and its manifest into FOLDER, to put both on a web mirror."""
    done = cli.api.operate("/v1/blobs/export", cli.output, cid=cid, folder=str(folder.resolve()))
    cli.output.document(done, f"Written: {done['path']} and {done['manifest_path']}")


@group.command()
@click.argument("cid")
@command
def pin(cli: Cli, cid: str) -> None:
    """Never remove the file CID by itself."""
    cli.output.document(cli.api.post("/v1/blobs/pin", cid=cid), "Pinned.")


@group.command()
@click.argument("cid")
@command
def unpin(cli: Cli, cid: str) -> None:
    """Let the file CID go when nobody needs it."""
    cli.output.document(cli.api.post("/v1/blobs/unpin", cid=cid), "Not pinned any more.")


@group.command()
@click.option("--gateway", help="http://127.0.0.1:PORT, or https:// and a name; an empty text for none.")
@click.option("--node", help="The RPC of your own IPFS node, http://127.0.0.1:PORT; an empty text for none.")
@command
def ipfs(cli: Cli, gateway: str | None, node: str | None) -> None:
    """Name an IPFS gateway and an IPFS node of yours, or show them when none is named, and what is pinned."""
    if gateway is None and node is None:
        found = cli.api.get("/v1/blobs")["ipfs"]
    else:
        found = cli.api.post("/v1/blobs/ipfs", gateway=gateway, node=node)
    lines = [f"Gateway: {found['gateway'] or 'none'}. Node: {found['node'] or 'none'}."]
    lines += [f"Pinned: {one['cid']} as {one['ipfs']}" for one in found["pins"]]
    cli.output.document(found, "\n".join(lines))


@group.command()
@click.argument("cid")
@command
def ipfs_pin(cli: Cli, cid: str) -> None:
    """Have your IPFS node keep the encrypted package CID, and give it to everybody."""
    done = cli.api.operate("/v1/blobs/ipfs/pin", cli.output, cid=cid)
    cli.output.document(done, f"Pinned in IPFS as {done['ipfs']}.")


@group.command()
@click.argument("cid")
@command
def ipfs_unpin(cli: Cli, cid: str) -> None:
    """Have your IPFS node keep the package CID no longer."""
    done = cli.api.post("/v1/blobs/ipfs/unpin", cid=cid)
    cli.output.document(done, f"Not pinned in IPFS any more: {done['ipfs']}.")
