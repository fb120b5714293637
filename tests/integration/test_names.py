"""A name in any script, from the sender's bytes to everything that shows it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from support import ehr, pdf
from support.hl7 import PNG, inbox_on, msh, obx, wire

from gateway.console.app import create_app
from gateway.delivery.prepare import Verdict, prepare
from gateway.store import Store
from inference.render import Style, page_pdf
from inference.simulate import simulate

ECG = simulate("normal", 1)
NAMES = [
    ("UNICODE UTF-8", "utf-8", "王^小明"),
    ("GB 18030-2000", "gb18030", "王^小明"),
    ("BIG-5", "big5", "許^功蓋"),
    ("~ISO IR87", "iso2022_jp_ext", "山田^太郎"),
    ("KS X 1001", "euc_kr", "홍^길동"),
    ("8859/2", "iso8859_2", "Żółć^Łukasz"),
    ("8859/7", "iso8859_7", "Παπαδοπούλου^Ελένη"),
    ("8859/5", "iso8859_5", "Иванов^Пётр"),
    ("UNICODE UTF-8", "utf-8", "Nguyễn^Hạnh"),
    ("8859/6", "iso8859_6", "محمد^علي"),
    ("8859/8", "iso8859_8", "כהן^דוד"),
]


@pytest.fixture
def client(store: Store) -> Iterator[TestClient]:
    """A client of the console."""
    app = create_app(store, site=ehr.site, version="1")
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.parametrize(("charset", "codec", "name"), NAMES)
def test_a_name_arrives_whole(store, client, charset, codec, name):
    """What a sender wrote in its own set is in result, console and PDF, letter by letter."""
    family, given = name.split("^")
    pid, obr = f"PID|1||P1^^^HOSP^MR||{name}", "OBR|1||F1|93000^ECG^C4"
    message = wire(msh(charset=charset), pid, obr, obx(PNG)).decode()
    assert inbox_on(store).handle(message.encode(codec), "127.0.0.1").code == "AA"
    (row,) = store.ecgs.recent(1)

    site, verdict = ehr.site(ehr.destination(1)), Verdict(ehr.SCORE)
    (told,) = prepare(row, verdict, None, site, keep=store.blobs.put, now=ehr.NOW)
    assert f"|P1^^^HOSP^MR||{name}\r".encode() in store.blobs.get(told.payload)

    assert f"<bdi>{family}, {given}</bdi>" in client.get(f"/ecgs/{row.id}").text

    content = page_pdf(ECG, Style(header=(f"{family}, {given} · id {row.patient.id}",)))
    (text,) = pdf.texts(content)
    assert f"{family}, {given} · id P1" in text
    assert "?" not in text
