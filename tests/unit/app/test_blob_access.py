from __future__ import annotations

from openstall.app.services.orders.blob_access import BlobAccess

BUYER, PROVIDER, STRANGER = "12D3KooWbuyer", "12D3KooWprovider", "12D3KooWstranger"


def test_nothing_is_given_out_unasked() -> None:
    assert not BlobAccess().allowed("cid", STRANGER)


def test_packages_on_sale_are_for_everybody() -> None:
    access = BlobAccess()
    access.make_public("package")
    assert access.allowed("package", STRANGER)
    assert not access.allowed("another", STRANGER)


def test_inputs_of_a_job_are_for_its_provider_only() -> None:
    access = BlobAccess()
    access.grant("inputs", PROVIDER)
    assert access.allowed("inputs", PROVIDER)
    assert not access.allowed("inputs", STRANGER)


def test_artefacts_go_out_only_when_the_last_second_is_paid() -> None:
    access = BlobAccess()
    access.grant_artefacts("order", BUYER, ["model", "report"], 100_000)
    assert not access.allowed("model", BUYER)
    access.note_paid("order", 99_999)
    assert not access.allowed("model", BUYER)
    access.note_paid("another order", 100_000)
    assert not access.allowed("model", BUYER)
    access.note_paid("order", 100_000)
    assert access.allowed("model", BUYER)
    assert access.allowed("report", BUYER)
    assert not access.allowed("model", STRANGER)


def test_a_job_that_owes_nothing_gives_its_artefacts_at_once() -> None:
    access = BlobAccess()
    access.grant_artefacts("order", BUYER, ["report"], 0)
    assert access.allowed("report", BUYER)
