"""A rented model that answers: real nodes, real chain, real sandbox, and an endpoint in the OpenAI manner."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from stage import CREDIT, START_MICRO, Market
from text_model import train_text_model

from openstall.app.demo.dataset import LABEL
from openstall.app.demo.peers import PROGRAM, DemoPeer, wait_for
from openstall.market.errors import OpenstallError


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_text_model(tmp_path_factory.mktemp("text"))


def rent(market: Market, model: Path, **changes: Any) -> str:
    offer = market.offer(kinds=["serve"], jobs_at_once=2)
    wanted = {"kind": "serve", "inputs": {"model.onnx": str(model)}, "params": {"idle_s": 120}}
    return market.rent(offer, **{**wanted, "cap_micro": CREDIT, "max_s": 100, **changes})


def events(response: httpx.Response) -> list[Any]:
    """What the stream carries, up to its end."""
    lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_a_model_of_text_behind_an_endpoint_paid_by_the_second(market: Market, text_model: Path) -> None:
    seller = market.seller
    order_id = rent(market, text_model)
    with pytest.raises(OpenstallError) as caught:
        market.buyer.post(f"/v1/orders/{order_id}/endpoint", port=0)
    assert caught.value.code == "no_such_order"
    found = seller.post(f"/v1/orders/{order_id}/endpoint", port=0)
    assert seller.post(f"/v1/orders/{order_id}/endpoint", port=0) == found
    seller.order_until(order_id, lambda o: o["state"] == "running" and o["job"]["seconds"] > 0, 120)
    with httpx.Client(
        base_url=found["base_url"], headers={"authorization": f"Bearer {found['key']}"}, timeout=60
    ) as client:
        listed = client.get("models").json()
        assert [(model["id"], model["object"]) for model in listed["data"]] == [(found["model"], "model")]
        plain = {"model": found["model"], "prompt": "The provider", "max_tokens": 20, "temperature": 0}
        whole = client.post("completions", json=plain).json()
        assert whole["object"] == "text_completion"
        choice = whole["choices"][0]
        assert (choice["index"], choice["finish_reason"], choice["logprobs"]) == (0, "length", None)
        assert whole["usage"] == {"prompt_tokens": 12, "completion_tokens": 20, "total_tokens": 32}

        streamed = {**plain, "stream": True, "stream_options": {"include_usage": True}}
        with client.stream("POST", "completions", json=streamed) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            chunks = events(response)
        assert "".join(one["choices"][0]["text"] for one in chunks[:-1]) == choice["text"]
        assert chunks[-2]["choices"][0]["finish_reason"] == "length"
        assert (chunks[-1]["choices"], chunks[-1]["usage"]) == ([], whole["usage"])

        chat = {"model": found["model"], "messages": [{"role": "user", "content": "Hello"}], "seed": 3}
        said = client.post("chat/completions", json={**chat, "max_completion_tokens": 12, "user": "x"}).json()
        assert said["object"] == "chat.completion"
        message = said["choices"][0]["message"]
        assert message["role"] == "assistant"
        parts = {**chat, "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]}
        with client.stream(
            "POST", "chat/completions", json={**parts, "max_completion_tokens": 12, "stream": True}
        ) as response:
            chunks = events(response)
        assert {one["object"] for one in chunks} == {"chat.completion.chunk"}
        deltas = [one["choices"][0]["delta"] for one in chunks]
        assert deltas[0]["role"] == "assistant"
        assert "".join(delta.get("content", "") for delta in deltas) == message["content"]

        refused = {
            404: {**plain, "model": "gpt"},
            400: {**plain, "n": 2},
        }
        for status, body in refused.items():
            answer = client.post("completions", json=body)
            assert answer.status_code == status
            assert answer.json()["error"]["type"] == "invalid_request_error"
        assert client.post("predictions", json={"rows": [[1]]}).status_code == 400
        bare = httpx.get(f"{found['base_url']}/models", headers={"authorization": "Bearer wrong"})
        assert bare.status_code == 401
        web = client.get("models", headers={"origin": "http://evil.example"})
        assert web.status_code == 403

    answer = seller.post(
        f"/v1/orders/{order_id}/ask", question={"prompt": "The provider", "max_tokens": 20, "temperature": 0}
    )
    assert answer["text"] == choice["text"]
    seller.post(f"/v1/orders/{order_id}/cancel")
    order = seller.order_until(order_id, lambda o: o["state"] == "settled", 60)
    assert order["paid_micro"] == order["job"]["seconds"] * 10_000 > 0
    wait_for(lambda: _closed(found["base_url"]) or None, 30, "the endpoint closes with its job")
    with pytest.raises(OpenstallError) as caught:
        seller.post(f"/v1/orders/{order_id}/endpoint", port=0)
    assert caught.value.code == "job_ended"
    assert market.money() == 3 * START_MICRO


def _closed(url: str) -> bool:
    try:
        httpx.get(f"{url}/models")
    except httpx.ConnectError:
        return True
    return False


def cli(peer: DemoPeer, *words: str, asked: str = "") -> list[Any]:
    """What the command line prints as JSON."""
    command = [*PROGRAM, "--json", "--home", str(peer.home), *words]
    ran = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return (
        [json.loads(line) for line in ran.stdout.splitlines()] if "ask" in words else [json.loads(ran.stdout)]
    )


def test_a_model_of_tables_by_json_lines_until_nobody_asks(market: Market, model: Path) -> None:
    seller = market.seller
    order_id = rent(market, model, params={"idle_s": 15})
    seller.order_until(order_id, lambda o: o["state"] == "running" and o["job"]["seconds"] > 0, 120)
    header, *rows = [line.split(",") for line in market.holdout.read_text().splitlines()]
    named = [
        {name: float(cell) for name, cell in zip(header, row, strict=True) if name != LABEL}
        for row in rows[:40]
    ]
    lines = [json.dumps({"rows": named[:20]}), "", json.dumps({"rows": named[20:]})]
    answers = cli(seller, "job", "ask", order_id, asked="\n".join(lines))
    assert [len(answer["predictions"]) for answer in answers] == [20, 20]
    [found] = cli(seller, "job", "serve", order_id)
    headers = {"authorization": f"Bearer {found['key']}"}
    url = f"{found['base_url']}/predictions"
    both = httpx.post(url, json={"rows": named}, headers=headers, timeout=60).json()
    assert both["predictions"] == answers[0]["predictions"] + answers[1]["predictions"]
    truth = [row[header.index(LABEL)] for row in rows[:40]]
    assert sum(a == b for a, b in zip(both["predictions"], truth, strict=True)) > 36
    text = httpx.post(
        f"{found['base_url']}/completions", json={"model": found["model"], "prompt": "x"}, headers=headers
    )
    assert text.status_code == 400
    assert text.json()["error"]["code"] == "bad_question"
    with pytest.raises(OpenstallError) as caught:
        seller.post(f"/v1/orders/{order_id}/ask", question={"rows": []})
    assert caught.value.code == "bad_question"
    assert cli(seller, "job", "serve", order_id, "--close") == [{"order_id": order_id, "open": False}]
    order = seller.order_until(
        order_id, lambda o: o["state"] == "settled" and bool(o["job"]["artefacts"][0]["path"]), 120
    )
    assert order["job"]["result"]["state"] == "done"  # nobody asked for a while
    report = json.loads(Path(order["job"]["artefacts"][0]["path"]).read_text())
    assert (report["model"], report["answered"], report["unanswerable"]) == ("table", 3, 1)
