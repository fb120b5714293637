"""Blobs on a real store: small ones in the database, large ones as files, checked when read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.stores import Clock, lose

from gateway.errors import BlobLost, OutOfResources
from gateway.store import Store, open_store
from gateway.store.blobs import SMALL_BYTES

SMALL, LARGE = b"a" * SMALL_BYTES, b"a" * (SMALL_BYTES + 1)


def files_of(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


@pytest.mark.parametrize("data", [b"", b"an ecg", SMALL, LARGE, bytes(5_000_000)])
def test_what_is_put_is_got(store: Store, data: bytes):
    """The digest is the SHA-256 of the bytes, and it gives them back, whatever their size."""
    digest = store.blobs.put(data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert store.blobs.put(data) == digest
    assert store.blobs.get(digest) == data


def test_only_a_large_one_is_a_file(store: Store, tmp_path: Path):
    """A small one costs no wait for the disk of its own."""
    store.blobs.put(SMALL)
    assert files_of(tmp_path) == []
    store.blobs.put(LARGE)
    assert len(files_of(tmp_path)) == 1


def test_a_small_one_comes_and_goes_with_its_transaction(store: Store):
    """Staged bytes are nowhere until they are added, and not when the transaction fails."""
    blob = store.blobs.stage(b"an ecg")
    with pytest.raises(BlobLost):
        store.blobs.get(blob.digest)
    with pytest.raises(LookupError), store.together():
        raise LookupError(store.blobs.add(blob))
    with pytest.raises(BlobLost):
        store.blobs.get(blob.digest)
    with store.together():
        store.blobs.add(blob)
        assert store.blobs.get(blob.digest) == b"an ecg"
    assert store.blobs.get(blob.digest) == b"an ecg"


def test_a_large_one_is_there_as_soon_as_it_is_staged(store: Store):
    """Its row may be committed at any time after."""
    assert store.blobs.get(store.blobs.stage(LARGE).digest) == LARGE


@pytest.mark.parametrize("data", [SMALL, LARGE])
def test_a_lost_one_is_noticed(store: Store, data: bytes):
    """A digest without bytes is an error of the store."""
    digest = store.blobs.put(data)
    lose(store, digest)
    with pytest.raises(BlobLost, match="missing"):
        store.blobs.get(digest)


def test_a_damaged_one_is_noticed(store: Store):
    """Bytes that changed are never given out as the original, wherever they are."""
    small, large = store.blobs.put(SMALL), store.blobs.put(LARGE)
    store.blobs._files.path(large).write_bytes(b"tampered")
    with store._db.write() as tx:
        tx.execute(sa.text("UPDATE blobs SET data = :data"), {"data": b"tampered"})
    for digest in (small, large):
        with pytest.raises(BlobLost, match="damaged"):
            store.blobs.get(digest)


@pytest.mark.parametrize("data", [SMALL, LARGE])
def test_reserve_is_kept_free(database_url: str, tmp_path: Path, clock: Clock, data: bytes):
    """Below the reserve nothing is taken but what was promised before."""
    full = open_store(database_url, tmp_path / "blobs", disk_reserve_mb=10**9, now=clock)
    with pytest.raises(OutOfResources):
        full.blobs.put(data)
    assert full.blobs.get(full.blobs.put(data, into_reserve=True)) == data
    full.close()
