"""Senders written by others, against the MLLP listener on a real store."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import hl7
import pytest
from hl7.client import MLLPClient
from hl7.mllp import open_hl7_connection
from support import node_peer
from support.hl7 import PDF, adt, inbox_on, listening, oru

SEND_S = 60.0


@pytest.fixture
def port(store):
    with listening(inbox_on(store).handle) as port:
        yield port


def test_python_hl7s_client_gets_its_answers(port, store):
    """Its blocking client sends messages over one connection and parses what we say."""
    with MLLPClient("127.0.0.1", port) as client:
        for number in range(5):
            answer = hl7.parse(client.send_message(oru(f"C{number}", PDF, "PDF"))[1:-2].decode())
            assert str(answer.segment("MSA")[1]) == "AA"
            assert str(answer.segment("MSA")[2]) == f"C{number}"
        answer = hl7.parse(client.send_message(oru("BAD", b"junk"))[1:-2].decode())
        assert str(answer.segment("MSA")[1]) == "AE"
    assert len(store.ecgs.recent(10)) == 5


def test_python_hl7s_asyncio_client_gets_its_answers(port, store):
    """Its asyncio streams agree with our frames."""

    async def talk() -> list[str]:
        reader, writer = await open_hl7_connection("127.0.0.1", port)
        codes = []
        for number in range(5):
            writer.writemessage(hl7.parse(adt(f"A{number}").decode()))
            await writer.drain()
            answer = await reader.readmessage()
            codes.append(str(answer.segment("MSA")[1]))
        writer.close()
        await writer.wait_closed()
        return codes

    assert asyncio.run(talk()) == ["AA"] * 5
    assert len(store.messages.recent(10)) == 5


def test_the_mllp_send_command_gets_its_answers(port, store, tmp_path):
    """The command line tool of python-hl7, run as a user would run it."""
    file = tmp_path / "messages.hl7"
    file.write_bytes(oru("C1") + b"\n" + adt("A1"))
    command = Path(sys.executable).with_name("mllp_send")
    done = subprocess.run(
        [command, "--loose", "--port", str(port), "--file", file, "127.0.0.1"],
        check=True,
        capture_output=True,
        timeout=SEND_S,
    )
    assert done.stdout.count(b"MSA|AA|") == 2
    assert len(store.ecgs.recent(10)) == 1


@pytest.mark.peer
def test_node_hl7_client_gets_its_answers(port, store, tmp_path):
    """The JavaScript client sends ORU and ADT over one connection; a refusal does not end it."""
    messages = [oru("C1"), adt("A1"), oru("BAD", b"junk"), oru("C2", PDF, "PDF")]
    file = tmp_path / "messages.json"
    file.write_text(json.dumps([message.decode() for message in messages]))
    told = node_peer.run("send.cjs", str(port), str(file))
    assert told.split("\n")[:-1] == ["AA C1", "AA A1", "AE BAD", "AA C2"]
    assert len(store.ecgs.recent(10)) == 2
