from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import trio

from openstall.market.errors import NotFound, PeerError, StoreError
from openstall.p2p import blob_manifest
from openstall.p2p.blob_manifest import CHUNK
from openstall.p2p.blobs import BlobStore


async def _added(store: BlobStore, folder: Path, size: int) -> tuple[bytes, str]:
    content = os.urandom(size)
    source = folder / "source"
    source.write_bytes(content)
    info = await store.add_file(source)
    assert info.size == size
    assert info.sha256 == hashlib.sha256(content).hexdigest()
    return content, info.cid


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK - 7])
async def test_a_file_comes_out_as_it_went_in_also_after_a_restart(tmp_path: Path, size: int) -> None:
    content, cid = await _added(BlobStore(tmp_path / "blobs"), tmp_path, size)
    store = BlobStore(tmp_path / "blobs")
    assert store.have(cid)
    assert store.used_bytes() == size
    await store.export(cid, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == content
    with store.open(cid) as file:
        assert file.read() == content


async def test_the_same_content_has_the_same_address(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs")
    source = tmp_path / "a"
    source.write_bytes(b"model" * 1000)
    first = await store.add_file(source)
    second = await store.add_file(source)
    assert first == second
    assert len(store.all()) == 1


async def test_progress_is_told_and_ends_at_the_size(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(os.urandom(40 * CHUNK))
    told: list[tuple[int, int]] = []
    await BlobStore(tmp_path / "blobs").add_file(
        source, on_progress=lambda done, total: told.append((done, total))
    )
    assert told[-1] == (40 * CHUNK, 40 * CHUNK)
    assert told == sorted(told)


async def test_a_removed_blob_is_gone(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs")
    _, cid = await _added(store, tmp_path, 100)
    await store.remove(cid)
    assert not store.have(cid)
    with pytest.raises(NotFound):
        store.path(cid)
    assert not list((tmp_path / "blobs").glob("*.data"))


async def test_the_quota_is_kept(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs", quota_bytes=1000)
    await _added(store, tmp_path, 600)
    with pytest.raises(StoreError) as caught:
        await _added(store, tmp_path, 600)
    assert caught.value.code == "blob_quota"
    assert not list((tmp_path / "blobs" / "incoming").iterdir())


async def test_a_missing_file_is_named_in_words(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        await BlobStore(tmp_path / "blobs").add_file(tmp_path / "nowhere")
    assert caught.value.code == "disk_error"


async def test_a_blob_without_its_manifest_or_with_short_data_is_not_a_blob(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs")
    _, cid = await _added(store, tmp_path, 5000)
    os.truncate(store.path(cid), 4999)
    assert not BlobStore(tmp_path / "blobs").have(cid)


async def test_cancelling_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(os.urandom(64 * CHUNK))
    store = BlobStore(tmp_path / "blobs")
    with trio.CancelScope() as scope:
        await store.add_file(source, on_progress=lambda _done, _total: scope.cancel())
    assert scope.cancelled_caught
    assert store.all() == []
    assert not list((tmp_path / "blobs" / "incoming").iterdir())


async def test_a_fetch_resumes_with_verified_chunks_only(tmp_path: Path) -> None:
    content = os.urandom(3 * CHUNK + 5)
    chunks = [content[at : at + CHUNK] for at in range(0, len(content), CHUNK)]
    manifest = blob_manifest.build(
        len(content), hashlib.sha256(content).digest(), [blob_manifest.hash_chunk(one) for one in chunks]
    )
    raw, cid = manifest.encode(), manifest.info().cid
    store = BlobStore(tmp_path / "blobs")
    partial = await store.begin(raw)
    assert not partial.write(0, chunks[1]), "a wrong chunk is not kept"
    assert partial.write(0, chunks[0])
    assert partial.write(2, chunks[2])
    store.abandon(partial)

    store = BlobStore(tmp_path / "blobs")
    assert not store.have(cid)
    assert await store.partial_manifest(cid) == raw
    with (tmp_path / "blobs" / "partial" / f"{cid}.data").open("r+b") as file:
        file.seek(2 * CHUNK)
        file.write(b"a power cut lost this page")
    partial = await store.begin(raw)
    assert partial.missing() == [1, 2, 3]
    for index in (3, 1, 2):
        assert partial.write(index, chunks[index])
    info = await store.finish(partial)
    assert store.path(info.cid).read_bytes() == content
    assert not list((tmp_path / "blobs" / "partial").iterdir())


async def test_a_publishers_false_checksum_shows_at_the_end(tmp_path: Path) -> None:
    content = b"not what the checksum says"
    manifest = blob_manifest.build(len(content), bytes(32), [blob_manifest.hash_chunk(content)])
    store = BlobStore(tmp_path / "blobs")
    partial = await store.begin(manifest.encode())
    assert partial.write(0, content)
    with pytest.raises(PeerError) as caught:
        await store.finish(partial)
    assert caught.value.code == "wrong_checksum"
    store.abandon(partial)
    assert store.all() == []
