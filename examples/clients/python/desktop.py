"""A small desktop: shows one frame to ProactiveAI, answers its searches, prints the decision.

    desktop.py --addr 127.0.0.1:50051 --token-command 'cat token' --ocr 'Can you ...?' [--frame screen.jpg]

Does all that a desktop must do (docs/clients.md): it keeps the frame until it is answered, also
over broken streams and restarts of the server. The decision goes to standard output as one JSON
object, everything else to standard error. Ends with 0 if the frame got a decision, else with 1.

The stubs are generated, see README.md.
"""

import argparse
import asyncio
import contextlib
import datetime
import ipaddress
import json
import pathlib
import random
import re
import subprocess
import sys
import time
import uuid

import grpc
from google.protobuf.json_format import MessageToDict
from proactive.v1 import proactive_pb2 as pb
from proactive.v1 import proactive_pb2_grpc

# What this desktop knows of its user; a real one has a database.
TASKS = [
    (1, "Renew the TLS certificate of the staging cluster", pb.TASK_STATUS_ACTIVE),
    (2, "Reconcile the October travel expenses", pb.TASK_STATUS_COMPLETED),
    (3, "Book the hotel in Porto for the spring launch", pb.TASK_STATUS_DELETED),
]
INSTANCE = str(uuid.uuid4())
CONTEXT_VERSION = "1"  # to be changed with every change of the tasks

MOST_BYTES = 10 * 1024 * 1024  # of one message
TOKEN_S = 30  # until the token command has ended
HANDSHAKE_S = 10  # until SessionReady
HEARTBEAT_S = 20
MISSED_HEARTBEATS = 3  # then the server is taken for gone
TRIES = 4  # of one frame, if the server says that it can be sent again
FIRST_DELAY_S, MOST_DELAY_S = 2, 32  # before the next stream


class Fatal(Exception):
    """Trying again cannot help."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def now():
    stamp = pb.Heartbeat().sent_at
    stamp.GetCurrentTime()
    return stamp


def words(text):
    return set(re.findall(r"\w+", text.lower()))


def search(call):
    """What is found for a ToolCallRequest, best first."""
    asked, hits = words(call.arguments.query), []
    meaning = call.tool_kind == pb.SEARCH_SIMILAR
    for task_id, description, status in TASKS:
        own = words(description)
        common = asked & own
        if not common or not (meaning or common == asked):
            continue
        hits.append(
            pb.SearchResult(
                task_id=task_id,
                description=description,
                status=status,
                similarity=2 * len(common) / (len(asked) + len(own)),
                match_type=pb.MATCH_TYPE_VECTOR if meaning else pb.MATCH_TYPE_FTS,
            )
        )
    hits.sort(key=lambda hit: -hit.similarity)
    return pb.SearchResults(items=hits[:20])


def context():
    def of(status):
        return [(number, text) for number, text, state in TASKS if state == status]

    return pb.SessionContext(
        active_tasks=[
            pb.ActiveTask(task_id=number, description=text)
            for number, text in of(pb.TASK_STATUS_ACTIVE)
        ],
        completed_tasks=[
            pb.HistoricalTask(task_id=number, description=text)
            for number, text in of(pb.TASK_STATUS_COMPLETED)
        ],
        deleted_tasks=[
            pb.HistoricalTask(task_id=number, description=text)
            for number, text in of(pb.TASK_STATUS_DELETED)
        ],
        generated_at=now(),
    )


def hello(resume):
    offset = datetime.datetime.now().astimezone().utcoffset()
    return pb.ClientHello(
        protocol_version="1.1",
        client_instance_id=INSTANCE,
        app_version="1.0.0",
        context_version=CONTEXT_VERSION,
        session_context=context(),
        utc_offset_minutes=int(offset.total_seconds() // 60),
        resume=resume,
        heartbeat_interval_ms=HEARTBEAT_S * 1000,
    )


class Frame:
    """The frame, kept until it is answered, and the session that it was sent in."""

    def __init__(self, event):
        self.event = event
        self.id = event.screenshot_id
        self.failures = 0
        self.not_before = 0
        self.answer = None
        self.resume = pb.Resume()  # empty: there is none to come back to


class Session:
    """One stream, from its opening to its end."""

    def __init__(self, stub, token, frame):
        metadata = [("authorization", f"Bearer {token}"), ("x-app-platform", "python-example")]
        self.call = stub.Session(metadata=metadata)
        self.frame = frame
        self.ready = False
        self.reconnect_delay_s = None  # set by a GoAway
        self.writing = asyncio.Lock()  # a stream takes one message at a time
        self.tasks = set()

    async def hold(self):
        """Returns when the stream has ended, or the server is taken for gone."""
        try:
            self.start(self.write(client_hello=hello(self.frame.resume)))
            self.start(self.beat())
            silence = HANDSHAKE_S
            while True:
                async with asyncio.timeout(silence):
                    event = await self.call.read()
                if event is grpc.aio.EOF:
                    return
                self.take(event)
                if event.WhichOneof("event") == "session_ready":
                    every_ms = event.session_ready.heartbeat_interval_ms
                    # A server of 1.0 sends none; then only the pings of HTTP/2 tell.
                    silence = every_ms / 1000 * MISSED_HEARTBEATS if every_ms else None
        finally:
            for task in self.tasks:
                task.cancel()
            self.call.cancel()

    def take(self, event):
        """Never waits: what is to be sent is sent by tasks, while reading goes on."""
        kind = event.WhichOneof("event")
        if kind == "session_ready":
            self.ready = True
            say(f"session {event.session_ready.session_id}")
            if self.is_known(event.session_ready):
                say("the session goes on, and the server has the frame")
            else:
                self.start(self.show())
        elif kind == "tool_call_request":
            call = event.tool_call_request
            # Within call.deadline_ms; a search that fails is answered with `error`.
            found = search(call)
            # What was searched for is not logged: it is read off the user's screen.
            say(f"searched: {len(found.items)} found")
            result = pb.ToolResult(
                request_id=call.request_id, frame_id=call.frame_id, result=found
            )
            self.start(self.write(tool_result=result))
        elif kind == "cancel_tool_request":
            # A search that takes its time would be stopped here.
            say(f"search called off: {event.cancel_tool_request.reason}")
        elif kind == "analysis_outcome":
            # A task that was extracted would be saved here, and CONTEXT_VERSION changed.
            outcome = event.analysis_outcome
            if self.is_new(outcome) and outcome.frame_id == self.frame.id:
                self.answered(outcome)
        elif kind == "server_error":
            if self.is_new(event.server_error):
                self.error(event.server_error)
        elif kind == "go_away":
            self.reconnect_delay_s = event.go_away.reconnect_delay_ms / 1000
            say(f"the server goes away: {event.go_away.reason}")
        # Heartbeats have done their work by coming; what is unknown is ignored.

    def is_known(self, ready):
        """Whether the server has the frame, from a stream before."""
        frame, received = self.frame, 0
        in_flight, answered = ready.resumed.frames_in_flight, ready.resumed.frames_answered
        if ready.HasField("resumed"):
            received = frame.resume.answers_received
        frame.resume = pb.Resume(
            session_id=ready.session_id, secret=ready.resume_secret, answers_received=received
        )
        # The answer that it remembers may be the one that made the frame be sent again.
        return frame.id in in_flight or (frame.id in answered and not frame.failures)

    def is_new(self, answer):
        """Confirms an answer, if it has a number. Whether it comes for the first time."""
        number, resume = answer.answer_number, self.frame.resume
        if not number:
            return True
        is_new = number > resume.answers_received
        resume.answers_received = max(number, resume.answers_received)
        # Once it is kept, which here it is at once.
        self.start(self.write(ack=pb.Ack(answer_number=resume.answers_received)))
        return is_new

    def error(self, error):
        say(f"{error.code}: {error.message}")
        if error.frame_id != self.frame.id:
            return
        if error.code == "GOING_AWAY":
            return  # the frame is shown on the next stream
        self.frame.failures += 1
        if not error.retryable or self.frame.failures >= TRIES:
            self.answered(error)
            return
        pause = 30 if error.code == "RATE_LIMITED" else FIRST_DELAY_S
        pause *= 2 ** (self.frame.failures - 1)
        # Not earlier, though the stream may be another one then.
        self.frame.not_before = time.monotonic() + max(pause, error.retry_after_ms / 1000)
        self.start(self.show())

    def answered(self, answer):
        self.frame.answer = answer
        self.start(self.close())

    async def show(self):
        await asyncio.sleep(self.frame.not_before - time.monotonic())
        if self.reconnect_delay_s is None:
            await self.write(frame_event=self.frame.event)

    async def beat(self):
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await self.write(heartbeat=pb.Heartbeat(sent_at=now()))

    async def write(self, **event):
        # A stream that has ended says so where it is read.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            async with self.writing:
                await self.call.write(pb.ClientEvent(**event))

    async def close(self):
        """Says that nothing more will come; the server ends the stream then."""
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            async with self.writing:
                await self.call.done_writing()

    def start(self, work):
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def is_loopback(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name; 127.example.com is somebody else's machine
        return host == "localhost"


def channel(args):
    """TLS, except to this machine itself."""
    loopback = is_loopback(args.addr.rsplit(":", 1)[0].strip("[]"))
    options = [
        ("grpc.max_receive_message_length", MOST_BYTES),
        # A connection that died without a word is known by its pings.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
    ]
    if loopback:
        # A proxy has a loopback of its own.
        options.append(("grpc.enable_http_proxy", 0))
    if loopback and not args.ca:
        return grpc.aio.insecure_channel(args.addr, options)
    return grpc.aio.secure_channel(args.addr, grpc.ssl_channel_credentials(args.ca), options)


def token(args):
    """A token for the next stream, or None: they last an hour, so it is asked for anew."""
    if args.token:
        return args.token
    try:
        done = subprocess.run(
            args.token_command,
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # what it says of its failures goes to ours
            timeout=TOKEN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        say(f"no token: --token-command did not end within {TOKEN_S} s")
        return None
    if done.returncode in (126, 127):  # as shells say it
        raise Fatal("--token-command cannot be run: there is no such program, or it is none")
    if done.returncode:
        say(f"no token: --token-command ended with {done.returncode}")
        return None
    printed = done.stdout.strip()
    if not is_token(printed):
        say("no token: --token-command printed no token, which is one line without blanks")
        return None
    return printed.decode()


def is_token(text):
    return re.fullmatch(rb"[!-~]+", text) is not None


async def show(args, frame):
    """Opens one stream after the other until the frame is answered."""
    failures, refused = 0, False
    while True:
        status, ready, delay = None, False, None
        credential = await asyncio.to_thread(token, args)
        if credential:
            async with channel(args) as line:
                stub = proactive_pb2_grpc.ProactiveAIStub(line)
                session = Session(stub, credential, frame)
                try:
                    await session.hold()
                except TimeoutError:
                    say("the server is silent")
                except grpc.aio.AioRpcError as error:
                    status = error.code()
                    say(f"the stream ended: {status.name}: {error.details()}")
            ready, delay = session.ready, session.reconnect_delay_s
        if frame.answer is not None:
            return
        if status == grpc.StatusCode.UNIMPLEMENTED:
            raise Fatal("there is no ProactiveAI at this address")
        if status == grpc.StatusCode.PERMISSION_DENIED:
            frame.resume = pb.Resume()  # it is another user's
        if ready:
            failures, refused = 0, False
        if status == grpc.StatusCode.UNAUTHENTICATED:
            if args.token:
                raise Fatal("the token is refused: get a new one")
            if refused:
                raise Fatal("a fresh token is refused, too: sign in again")
            refused = True
        failures += 1
        if delay is None:
            # Full jitter: clients that were cut off together do not come back together.
            most = min(MOST_DELAY_S, FIRST_DELAY_S * 2 ** min(failures - 1, 10))
            delay = random.uniform(0, most)
        say(f"trying again in {delay:.1f} s")
        await asyncio.sleep(delay)


def content(path):
    """Of a file that an argument names."""
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        sys.exit(f"{path}: {error.strerror}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--addr", default="127.0.0.1:50051", help="HOST:PORT")
    tokens = parser.add_mutually_exclusive_group(required=True)
    tokens.add_argument("--token", help="a Firebase ID token")
    tokens.add_argument("--token-command", help="prints one; run for each stream")
    parser.add_argument("--ocr", default="", help="the text on the screen")
    parser.add_argument("--frame", type=content, default=b"", help="a JPEG of the screen")
    parser.add_argument("--app", default="", help="the application in front")
    parser.add_argument("--ca", type=content, help="PEM of the authority to trust, for TLS")
    args = parser.parse_args()
    if args.token and not is_token(args.token.encode()):
        sys.exit("--token is no token, which is one line without blanks")
    event = pb.FrameEvent(
        jpeg_bytes=args.frame,
        app_name=args.app,
        ocr_text=args.ocr,
        capture_time=now(),
        screenshot_id=str(uuid.uuid4()),
        context_version=CONTEXT_VERSION,
    )
    if pb.ClientEvent(frame_event=event).ByteSize() > MOST_BYTES:
        sys.exit("the frame has more than 10 MiB: make the JPEG smaller")
    frame = Frame(event)
    try:
        asyncio.run(show(args, frame))
    except Fatal as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    answer = MessageToDict(frame.answer, preserving_proto_field_name=True)
    print(json.dumps(answer, ensure_ascii=False))
    sys.exit(0 if isinstance(frame.answer, pb.AnalysisOutcome) else 1)


if __name__ == "__main__":
    main()
