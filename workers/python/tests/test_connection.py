"""The stream: heartbeats, ends, new beginnings, and how a worker leaves."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest
import trustme
from fake_server import PATIENCE, TOKEN, FakeServer, Running, call

from proactive_worker import Code, Refused, SettingsError, Worker, settings_from
from proactive_worker._generated import workers_pb2 as pb
from proactive_worker.backoff import Backoff

pytestmark = pytest.mark.asyncio
HERE = Path(__file__).resolve().parent


@pytest.fixture
def echoing(worker):
    """A worker that echoes, or waits until it is cancelled."""

    @worker.tool
    async def echo(it: str) -> str:
        """Echoes."""
        return it

    @worker.tool
    async def wait(seconds: float) -> str:
        """Waits."""
        await asyncio.sleep(seconds)
        return "waited"

    return worker


async def test_a_worker_says_something_as_often_as_it_must(server, echoing, connect):
    server.heartbeat_interval_ms = 1_000
    talk = await connect(echoing)
    for _ in range(2):
        begun = time.monotonic()
        await talk.hear("heartbeat")
        talk.tell(heartbeat=pb.ServerHeartbeat())
        assert time.monotonic() - begun < 2.0


async def test_a_server_that_is_silent_is_left(server, echoing, connect):
    server.heartbeat_interval_ms = 1_000
    begun = time.monotonic()
    await connect(echoing)
    await server.arrival()
    assert 2.5 < time.monotonic() - begun < 6.0


async def test_c08_a_worker_comes_back_when_its_server_does_and_its_calls_are_gone(server, echoing, connect):
    cancelled, never = asyncio.Event(), asyncio.Event()

    @echoing.tool
    async def hold() -> None:
        """Holds."""
        try:
            await never.wait()
        finally:
            cancelled.set()

    talk = await connect(echoing)
    talk.tell(execute=pb.ExecuteTool(call=call("hold", deadline=60)))
    assert await talk.result(call("echo", {"it": "a"})) == "a"
    await server.stop()
    await asyncio.wait_for(cancelled.wait(), PATIENCE)
    # Some attempts fail.
    await asyncio.sleep(0.3)
    await server.start()
    talk = await server.arrival()
    assert await talk.result(call("echo", {"it": "b"})) == "b"


@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "INVALID_ARGUMENT"])
async def test_a_worker_that_is_refused_does_not_try_again(server, echoing, code):
    server.refuse = (grpc.StatusCode[code], "because")
    running = Running(echoing, server)
    with pytest.raises(Refused) as raised:
        await asyncio.wait_for(running.task, PATIENCE)
    assert raised.value.code is Code[code]
    assert str(raised.value) == f"{code}: because"
    assert server.attempts.qsize() == 1


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "INTERNAL"])
async def test_a_worker_that_is_sent_away_tries_again(server, echoing, connect, code):
    server.refuse = (grpc.StatusCode[code], "later")
    running = Running(echoing, server)
    for _ in range(3):
        await asyncio.wait_for(server.attempts.get(), PATIENCE)
    server.refuse = None
    await server.arrival()
    await running.end()


async def test_a_worker_that_was_welcome_comes_back_even_if_it_said_what_cannot_be_read(
    server, echoing, connect
):
    talk = await connect(echoing)
    assert await talk.result(call("echo", {"it": "a"})) == "a"
    talk.commands.put_nowait(grpc.StatusCode.INVALID_ARGUMENT)
    talk = await server.arrival()
    assert await talk.result(call("echo", {"it": "b"})) == "b"


async def test_a_server_that_goes_says_when_to_come_back_and_calls_are_finished(server, echoing, connect):
    talk = await connect(echoing, first=0.0)
    asked = call("wait", {"seconds": 0.3})
    talk.tell(execute=pb.ExecuteTool(call=asked))
    assert await talk.result(call("echo", {"it": "a"})) == "a"
    away = pb.GoAway(reason="a new version", time_left_ms=5_000, reconnect_delay_ms=400)
    talk.tell(go_away=away)
    assert await talk.end_of(asked) == "waited"
    await asyncio.wait_for(talk.closed.wait(), PATIENCE)
    begun = time.monotonic()
    await server.arrival()
    assert 0.35 < time.monotonic() - begun < 2.0


async def test_a_worker_that_leaves_finishes_its_calls_and_takes_no_more(server, echoing):
    running = Running(echoing, server, grace=5.0)
    talk = await server.arrival()
    asked = call("wait", {"seconds": 0.3})
    talk.tell(execute=pb.ExecuteTool(call=asked))
    assert await talk.result(call("echo", {"it": "a"})) == "a"
    running.stop.set()
    await talk.hear("leaving")
    late = await talk.result(call("echo", {"it": "late"}))
    assert (late.code, late.never_ran) == (14, True)
    assert await talk.end_of(asked) == "waited"
    await asyncio.wait_for(talk.closed.wait(), PATIENCE)
    await asyncio.wait_for(running.task, PATIENCE)
    assert server.attempts.qsize() == 1


async def test_a_worker_that_leaves_waits_only_so_long(server, echoing):
    running = Running(echoing, server, grace=0.2)
    talk = await server.arrival()
    asked = call("wait", {"seconds": 60})
    talk.tell(execute=pb.ExecuteTool(call=asked))
    assert await talk.result(call("echo", {"it": "a"})) == "a"
    await running.end()
    failure = await talk.end_of(asked)
    assert (failure.code, failure.never_ran) == (14, False)


async def test_a_worker_may_be_told_to_leave_at_any_moment(server, echoing):
    for turn in range(20):
        running = Running(echoing, server)
        if turn % 2:
            await server.arrival()
        else:
            await asyncio.sleep(turn / 2_000)
        begun = time.monotonic()
        await running.end()
        assert time.monotonic() - begun < 1.5


async def test_a_worker_without_a_server_leaves_at_once(echoing):
    nowhere = FakeServer()
    nowhere.port = 1
    running = Running(echoing, nowhere, first=60, most=60, dice=lambda: 1.0)
    await asyncio.sleep(0.3)
    begun = time.monotonic()
    await running.end()
    assert time.monotonic() - begun < 1.0


async def test_what_is_refused_or_unknown_is_no_end(server, echoing, connect, caplog):
    server.refused = [pb.ToolRefused(name="wait", reason="declared otherwise")]
    talk = await connect(echoing)
    talk.commands.put_nowait(pb.WorkerCommand.FromString(b"\xfa\x07\x00"))
    talk.tell(credit=pb.CallCredit(call_id="nothing", more=1))
    talk.tell(variable=pb.VariableResponse(request_id="nothing"))
    assert await talk.result(call("echo", {"it": "a"})) == "a"
    assert "the server refuses the tool wait: declared otherwise" in caplog.text


async def test_nothing_that_is_said_and_no_token_is_in_a_log(server, worker, connect, caplog):
    caplog.set_level(logging.DEBUG)

    @worker.tool
    async def whisper(secret: str) -> object:
        """Whispers."""
        if secret == "secret-argument-2":
            raise RuntimeError(secret)
        if secret == "secret-argument-4":
            return {"names": [{1, 2}]}
        if secret == "secret-argument-5":
            return {secret: {1, 2}}
        return f"secret-result {secret}"

    talk = await connect(worker)
    assert await talk.result(call("whisper", {"secret": "secret-argument-1"}))
    assert (await talk.result(call("whisper", {"secret": "secret-argument-2"}))).code == 2
    assert (await talk.result(call("whisper", {"secret": ["secret-argument-3"]}))).code == 3
    for unfit in ("secret-argument-4", "secret-argument-5"):
        assert (await talk.result(call("whisper", {"secret": unfit}))).code == 13
    server.refuse = (grpc.StatusCode.UNAVAILABLE, "gone")
    talk.end()
    for _ in range(2):
        await asyncio.wait_for(server.attempts.get(), PATIENCE)
    ours = "\n".join(record.getMessage() for record in caplog.records)
    assert "whisper: UNKNOWN (RuntimeError at test_connection.py:" in ours
    assert "whisper: INTERNAL (the result.names[0]: set, but only None, bool," in ours
    assert "whisper: INTERNAL (within the result: set, but only None, bool," in ours
    assert "secret" not in caplog.text
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(server.settings)


async def test_waits_double_to_a_bound_and_are_spread():
    most = Backoff(dice=lambda: 1.0)
    assert [most.next() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    most.lasted(29)
    assert most.next() == 30
    most.lasted(31)
    assert most.next() == 1
    least = Backoff(dice=lambda: 0.0)
    assert [least.next() for _ in range(3)] == [0, 0, 0]


async def test_settings_are_judged_at_once_and_the_token_is_not_told(tmp_path):
    with pytest.raises(SettingsError) as raised:
        settings_from(
            environment={
                "PROACTIVE_ADDR": "https://example.com",
                "PROACTIVE_SERVICE_TOKEN": "tö ken",
                "PROACTIVE_CA": str(tmp_path / "none.pem"),
            }
        )
    told = str(raised.value)
    for part in (
        "'https://example.com' is not HOST:PORT",
        "PROACTIVE_SERVICE_TOKEN: has",
        "none.pem: No such",
    ):
        assert part in told
    assert "ken" not in told.replace("TOKEN", "").replace("token", "")
    with pytest.raises(SettingsError, match="a worker needs a service token"):
        settings_from(environment={})
    settings = settings_from(environment={"PROACTIVE_SERVICE_TOKEN": f"{TOKEN}\n"})
    assert (settings.address, settings.token) == ("127.0.0.1:50051", TOKEN)
    for address in ("[::1]:50051", "example.com:443", "localhost:1"):
        assert settings_from(address, TOKEN, {}).address == address


async def test_all_but_loopback_is_tls_and_a_private_authority_is_trusted(worker, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(grpc.aio, "insecure_channel", lambda address, _: made.append(("plain", address)))
    monkeypatch.setattr(grpc.aio, "secure_channel", lambda address, *_: made.append(("tls", address)))
    for address in ("127.0.0.1:1", "[::1]:1", "localhost:1"):
        settings_from(address, TOKEN, {}).channel()
        assert made.pop() == ("plain", address)
    for address in ("example.com:443", "10.0.0.1:1", "localhost.example.com:1", "[::2]:1"):
        settings_from(address, TOKEN, {}).channel()
        assert made.pop() == ("tls", address)
    monkeypatch.undo()

    @worker.tool
    async def hello() -> str:
        """Greets."""
        return "hello"

    authority = trustme.CA()
    server = FakeServer()
    await server.start(authority.issue_cert("127.0.0.1"))
    addr = {"PROACTIVE_ADDR": f"127.0.0.1:{server.port}", "PROACTIVE_SERVICE_TOKEN": TOKEN}
    stop = asyncio.Event()
    for trusted in (trustme.CA(), authority):
        pem = tmp_path / "ca.pem"
        trusted.cert_pem.write_to_path(pem)
        settings = settings_from(environment={**addr, "PROACTIVE_CA": str(pem)})
        serving = asyncio.ensure_future(worker.serve(settings, stop, backoff=Backoff(0.01, 0.05)))
        if trusted is authority:
            talk = await server.arrival()
            assert await talk.result(call("hello")) == "hello"
            stop.set()
            await asyncio.wait_for(serving, PATIENCE)
        else:
            await asyncio.sleep(0.3)
            assert server.attempts.empty(), "no token for a server that is not trusted"
            serving.cancel()
    await server.stop()


class Program:
    """A worker in a process of its own."""

    def __init__(self, server: FakeServer, *run: str, token: str = TOKEN, **environment: str) -> None:
        run = run or ("-m", "proactive_worker", "program:worker")
        addr = f"127.0.0.1:{server.port}"
        # The package that is tested, which need not be the one that is installed.
        path = {"PYTHONPATH": str(HERE.parent)}
        environment = {
            **os.environ,
            **path,
            "PROACTIVE_ADDR": addr,
            "PROACTIVE_SERVICE_TOKEN": token,
            **environment,
        }
        self.process = subprocess.Popen(
            [sys.executable, *run],
            cwd=HERE,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    async def ended(self) -> tuple[int, str]:
        loop = asyncio.get_running_loop()
        written = await loop.run_in_executor(None, self.process.communicate, None, PATIENCE)
        self.written = [output.decode() for output in written]
        return self.process.returncode, "".join(self.written)

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        # What a failed test left behind.
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()


async def test_a_program_that_is_told_to_leave_finishes_its_calls_and_ends_well(server):
    with Program(server) as program:
        talk = await server.arrival()
        asked = call("slow", {"seconds": 0.5})
        talk.tell(execute=pb.ExecuteTool(call=asked))
        await talk.hear("progress")
        program.process.send_signal(signal.SIGTERM)
        await talk.hear("leaving")
        assert await talk.end_of(asked) == "done"
        code, output = await program.ended()
        assert code == 0, output
        assert TOKEN not in output


async def test_a_program_writes_what_is_usual_and_what_is_not_to_two_outputs_without_a_time(server):
    with Program(server) as program:
        talk = await server.arrival()
        failure = await talk.result(call("slow", {"seconds": -1}))
        assert failure.code == 2
        program.process.send_signal(signal.SIGTERM)
        await talk.hear("leaving")
        await program.ended()
    usual, worse = (output.splitlines() for output in program.written)
    assert usual[0].startswith("INFO proactive_worker: connected as worker")
    assert all(line.startswith("INFO ") for line in usual)
    assert len(worse) == 1, worse
    assert worse[0].startswith("WARNING proactive_worker: call ")
    assert "of slow: UNKNOWN (ValueError at program.py:" in worse[0]


async def test_a_program_that_is_debugged_logs_where_a_tool_failed(server):
    with Program(server, PROACTIVE_WORKER_DEBUG="1") as program:
        talk = await server.arrival()
        await talk.result(call("slow", {"seconds": -1}))
        program.process.send_signal(signal.SIGTERM)
        await program.ended()
    _, worse = program.written
    assert "Traceback (most recent call last):" in worse
    assert "ValueError: no time is less than none" in worse


async def test_a_program_that_is_told_twice_leaves_at_once(server):
    with Program(server) as program:
        talk = await server.arrival()
        talk.tell(execute=pb.ExecuteTool(call=call("slow", {"seconds": 60})))
        await talk.hear("progress")
        program.process.send_signal(signal.SIGTERM)
        await talk.hear("leaving")
        program.process.send_signal(signal.SIGINT)
        code, _ = await program.ended()
        assert code == 128 + signal.SIGINT


async def test_a_program_leaves_although_a_tool_does_not(server):
    with Program(server, "program.py") as program:
        talk = await server.arrival()
        asked = call("block", deadline=60)
        talk.tell(execute=pb.ExecuteTool(call=asked))
        await talk.hear("progress")
        program.process.send_signal(signal.SIGTERM)
        code, output = await program.ended()
        assert code == 0, output
        failure = await talk.end_of(asked)
        assert (failure.code, failure.never_ran) == (14, False)


async def test_a_program_leaves_when_its_parent_has_gone(server):
    with Program(server, PROACTIVE_EXIT_WITH_PARENT="1") as program:
        talk = await server.arrival()
        assert await talk.result(call("slow", {"seconds": 0})) == "done"
        program.process.stdin.close()
        program.process.stdin = None
        await talk.hear("leaving")
        code, output = await program.ended()
        assert code == 0, output


async def test_a_program_that_is_refused_says_why_and_ends_with_a_code(server):
    server.refuse = (grpc.StatusCode.UNAUTHENTICATED, "no such token")
    with Program(server) as program:
        code, output = await program.ended()
    assert code == 77, output
    assert "UNAUTHENTICATED: no such token" in output
    assert TOKEN not in output
    with Program(server, token="") as program:
        code, output = await program.ended()
    assert code == 64, output
    assert "PROACTIVE_SERVICE_TOKEN: is missing" in output


async def test_a_worker_without_tools_is_a_mistake(server):
    with pytest.raises(SettingsError, match="no tools"):
        await Worker(name="none").serve(server.settings, asyncio.Event())
