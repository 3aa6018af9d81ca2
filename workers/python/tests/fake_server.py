"""A server of the contract's, that says what a test tells it to."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import uuid
from typing import Any

import grpc
import grpc.aio

from proactive_worker import Settings, Worker
from proactive_worker._generated import workers_pb2 as pb
from proactive_worker._generated import workers_pb2_grpc
from proactive_worker.backoff import Backoff
from proactive_worker.values import from_value, to_object

TOKEN = "service-token-that-nobody-may-read"
PATIENCE = 10.0
NOW = datetime.datetime(2026, 11, 18, 14, 0, tzinfo=datetime.timezone.utc)


def call(
    tool: str, arguments: dict[str, Any] | None = None, deadline: float = 10.0, **about: Any
) -> pb.ToolCall:
    """A call of that tool."""
    context = pb.CallContext(session_id=str(uuid.uuid4()), **about)
    context.now.FromDatetime(NOW)
    return pb.ToolCall(
        call_id=str(uuid.uuid4()),
        tool=tool,
        arguments=to_object(arguments or {}),
        deadline_ms=round(deadline * 1000),
        context=context,
    )


class Conversation:
    """One worker's stream, as the server sees it."""

    def __init__(self, metadata: dict[str, str]) -> None:
        self.metadata = metadata
        self.hello = pb.WorkerHello()
        self.commands: asyncio.Queue[pb.WorkerCommand | grpc.StatusCode | None] = asyncio.Queue()
        self.closed = asyncio.Event()
        self._heard: list[pb.WorkerEvent] = []
        self._more = asyncio.Condition()
        # As HTTP/2 does when a consumer does not read.
        self.reading = asyncio.Event()
        self.reading.set()

    def tell(self, **command: Any) -> None:
        self.commands.put_nowait(pb.WorkerCommand(**command))

    def end(self) -> None:
        self.commands.put_nowait(None)

    async def heard(self, event: pb.WorkerEvent) -> None:
        async with self._more:
            self._heard.append(event)
            self._more.notify_all()

    async def hear(self, kind: str, call_id: str | None = None) -> Any:
        """The next event of that kind (and call), which is taken out."""

        def found() -> Any:
            for event in self._heard:
                said = getattr(event, kind)
                if event.HasField(kind) and call_id in (None, getattr(said, "call_id", None)):
                    self._heard.remove(event)
                    return said
            return None

        async def wait() -> Any:
            async with self._more:
                while (said := found()) is None:
                    await self._more.wait()
                return said

        return await asyncio.wait_for(wait(), PATIENCE)

    def kinds(self) -> list[str]:
        """What was said, and not asked for."""
        return [event.WhichOneof("event") for event in self._heard]

    def chunks(self, asked: pb.ToolCall) -> int:
        """How many of its chunks were said, and not asked for."""
        return sum(event.chunk.call_id == asked.call_id for event in self._heard)

    async def result(self, asked: pb.ToolCall) -> Any:
        """Has it executed, and gives the result or the failure."""
        self.tell(execute=pb.ExecuteTool(call=asked))
        return await self.end_of(asked)

    async def end_of(self, asked: pb.ToolCall) -> Any:
        waits = [asyncio.ensure_future(self.hear(kind, asked.call_id)) for kind in ("result", "failure")]
        done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in pending:
            wait.cancel()
        ended = done.pop().result()
        return from_value(ended.value) if isinstance(ended, pb.CallResult) else ended


class FakeServer(workers_pb2_grpc.ToolWorkersServicer):
    """A server that may be stopped, and started again at its address."""

    def __init__(self, heartbeat_interval_ms: int = 20_000) -> None:
        self.refuse: tuple[grpc.StatusCode, str] | None = None
        self.heartbeat_interval_ms = heartbeat_interval_ms
        self.refused: list[pb.ToolRefused] = []
        self.port = 0
        self.streams = itertools.count()
        self.arrivals: asyncio.Queue[Conversation] = asyncio.Queue()
        self.attempts: asyncio.Queue[str] = asyncio.Queue()

    async def start(self, certificate: Any = None) -> None:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        workers_pb2_grpc.add_ToolWorkersServicer_to_server(self, self._server)
        address = f"127.0.0.1:{self.port}"
        if certificate:
            chain = b"".join(one.bytes() for one in certificate.cert_chain_pems)
            pair = (certificate.private_key_pem.bytes(), chain)
            self.port = self._server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        else:
            self.port = self._server.add_insecure_port(address)
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)

    @property
    def settings(self) -> Settings:
        return Settings(f"127.0.0.1:{self.port}", TOKEN)

    async def arrival(self) -> Conversation:
        """The next worker that has been made welcome."""
        return await asyncio.wait_for(self.arrivals.get(), PATIENCE)

    async def Serve(self, requests: Any, context: grpc.aio.ServicerContext) -> None:
        metadata = dict(context.invocation_metadata() or ())
        self.attempts.put_nowait(metadata.get("authorization", ""))
        if self.refuse:
            await context.abort(*self.refuse)
        talk = Conversation(metadata)
        talk.hello = (await context.read()).hello
        ready = pb.WorkerReady(
            worker_id=str(uuid.uuid4()),
            heartbeat_interval_ms=self.heartbeat_interval_ms,
            refused=self.refused,
        )
        await context.write(pb.WorkerCommand(ready=ready))
        self.arrivals.put_nowait(talk)

        async def listen() -> None:
            while (event := await context.read()) is not grpc.aio.EOF:
                await talk.heard(event)
                await talk.reading.wait()
            talk.closed.set()
            talk.end()

        listening = asyncio.ensure_future(listen())
        try:
            while (command := await talk.commands.get()) is not None:
                if isinstance(command, grpc.StatusCode):
                    await context.abort(command, "because")
                await context.write(command)
        finally:
            listening.cancel()


class Running:
    """A worker that serves."""

    def __init__(self, worker: Worker, server: FakeServer, grace: float = 2.0, **backoff: Any) -> None:
        self.stop = asyncio.Event()
        backoff = {"first": 0.01, "most": 0.05, **backoff}
        serving = worker.serve(server.settings, self.stop, grace=grace, backoff=Backoff(**backoff))
        self.task = asyncio.ensure_future(serving)

    async def end(self) -> None:
        self.stop.set()
        await asyncio.wait_for(self.task, PATIENCE)
