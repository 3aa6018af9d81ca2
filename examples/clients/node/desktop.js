// A small desktop: shows one frame to ProactiveAI, answers its searches, prints the decision.
//
//     node desktop.js --addr 127.0.0.1:50051 --token-command 'cat token' --ocr 'Can you ...?' [--frame screen.jpg]
//
// Does all that a desktop must do (docs/clients.md): it keeps the frame until it is answered, also
// over broken streams and restarts of the server. The decision goes to standard output as one JSON
// object, everything else to standard error. Ends with 0 if the frame got a decision, else with 1.
"use strict";

const { execSync } = require("node:child_process");
const { randomUUID } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { isIPv4 } = require("node:net");
const path = require("node:path");
const { setTimeout: sleep } = require("node:timers/promises");
const { parseArgs } = require("node:util");

const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

// What this desktop knows of its user; a real one has a database.
const TASKS = [
  { task_id: 1, description: "Renew the TLS certificate of the staging cluster", status: "TASK_STATUS_ACTIVE" },
  { task_id: 2, description: "Reconcile the October travel expenses", status: "TASK_STATUS_COMPLETED" },
  { task_id: 3, description: "Book the hotel in Porto for the spring launch", status: "TASK_STATUS_DELETED" },
];
const INSTANCE = randomUUID();
const CONTEXT_VERSION = "1"; // to be changed with every change of the tasks

const MOST_BYTES = 10 * 1024 * 1024; // of one message
const TOKEN_MS = 30_000; // until the token command has ended
const HANDSHAKE_MS = 10_000; // until SessionReady
const HEARTBEAT_MS = 20_000;
const MISSED_HEARTBEATS = 3; // then the server is taken for gone
const TRIES = 4; // of one frame, if the server says that it can be sent again
const FIRST_DELAY_MS = 2_000; // before the next stream
const MOST_DELAY_MS = 32_000;

/** Trying again cannot help. */
class Fatal extends Error {}

const say = (text) => console.error(text);

function now() {
  const ms = Date.now();
  return { seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1_000_000 };
}

const words = (text) => new Set(text.toLowerCase().match(/[\p{L}\p{N}_]+/gu));

/** What is found for a ToolCallRequest, best first. */
function search(call) {
  const asked = words(call.arguments.query);
  const meaning = call.tool_kind === "SEARCH_SIMILAR";
  const hits = [];
  for (const task of TASKS) {
    const own = words(task.description);
    const common = [...asked].filter((word) => own.has(word)).length;
    if (common === 0 || !(meaning || common === asked.size)) continue;
    hits.push({
      ...task,
      similarity: (2 * common) / (asked.size + own.size),
      match_type: meaning ? "MATCH_TYPE_VECTOR" : "MATCH_TYPE_FTS",
    });
  }
  hits.sort((a, b) => b.similarity - a.similarity);
  return { items: hits.slice(0, 20) };
}

function context() {
  const of = (status) => TASKS.filter((task) => task.status === status);
  return {
    active_tasks: of("TASK_STATUS_ACTIVE"),
    completed_tasks: of("TASK_STATUS_COMPLETED"),
    deleted_tasks: of("TASK_STATUS_DELETED"),
    generated_at: now(),
  };
}

const hello = (resume) => ({
  protocol_version: "1.1",
  client_instance_id: INSTANCE,
  app_version: "1.0.0",
  context_version: CONTEXT_VERSION,
  session_context: context(),
  utc_offset_minutes: -new Date().getTimezoneOffset(),
  resume,
  heartbeat_interval_ms: HEARTBEAT_MS,
});

/** There is none to come back to. */
const newSession = () => ({ session_id: "", secret: "", answers_received: 0 });

/** One stream, from its opening to its end. */
class Session {
  constructor(client, token, frame) {
    const metadata = new grpc.Metadata();
    metadata.set("authorization", `Bearer ${token}`);
    metadata.set("x-app-platform", "node-example");
    this.call = client.Session(metadata);
    this.frame = frame;
    this.ready = false;
    this.reconnectDelayMs = null; // set by a GoAway
    this.timers = new Set();
  }

  /** The status that the stream ends with. */
  async hold() {
    const ended = new Promise((resolve) => this.call.on("status", resolve));
    this.call.on("error", () => {}); // the status says it, too
    this.call.on("data", (event) => this.take(event));
    this.listen(HANDSHAKE_MS);
    this.write({ client_hello: hello(this.frame.resume) });
    const beat = setInterval(() => this.write({ heartbeat: { sent_at: now() } }), HEARTBEAT_MS);
    const status = await ended;
    clearInterval(beat);
    clearTimeout(this.silence);
    this.timers.forEach(clearTimeout);
    return status;
  }

  /** From now on the server may be silent for so long; 0: for ever. */
  listen(ms) {
    this.patience = ms;
    this.heard();
  }

  heard() {
    clearTimeout(this.silence);
    if (this.patience === 0) return;
    this.silence = setTimeout(() => {
      say("the server is silent");
      this.call.cancel();
    }, this.patience);
  }

  take(event) {
    this.heard();
    switch (event.event) {
      case "session_ready":
        this.ready = true;
        // A server of 1.0 sends none; then only the pings of HTTP/2 tell.
        this.listen(event.session_ready.heartbeat_interval_ms * MISSED_HEARTBEATS);
        say(`session ${event.session_ready.session_id}`);
        if (this.isKnown(event.session_ready)) say("the session goes on, and the server has the frame");
        else this.show();
        break;
      case "tool_call_request": {
        const call = event.tool_call_request;
        // Within call.deadline_ms; a search that fails is answered with `error`.
        const result = search(call);
        // What was searched for is not logged: it is read off the user's screen.
        say(`searched: ${result.items.length} found`);
        this.write({ tool_result: { request_id: call.request_id, frame_id: call.frame_id, result } });
        break;
      }
      case "cancel_tool_request":
        // A search that takes its time would be stopped here.
        say(`search called off: ${event.cancel_tool_request.reason}`);
        break;
      case "analysis_outcome": {
        // A task that was extracted would be saved here, and CONTEXT_VERSION changed.
        const outcome = event.analysis_outcome;
        if (this.isNew(outcome) && outcome.frame_id === this.frame.id) this.answered(outcome, true);
        break;
      }
      case "server_error":
        if (this.isNew(event.server_error)) this.error(event.server_error);
        break;
      case "go_away":
        this.reconnectDelayMs = event.go_away.reconnect_delay_ms;
        say(`the server goes away: ${event.go_away.reason}`);
        break;
      default:
      // Heartbeats have done their work by coming; what is unknown is ignored.
    }
  }

  /** Whether the server has the frame, from a stream before. */
  isKnown({ session_id, resume_secret: secret, resumed }) {
    const { frame } = this;
    const answers_received = resumed ? frame.resume.answers_received : 0;
    frame.resume = { session_id, secret, answers_received };
    // The answer that it remembers may be the one that made the frame be sent again.
    const isAnswered = resumed?.frames_answered.includes(frame.id) && frame.failures === 0;
    return resumed?.frames_in_flight.includes(frame.id) || isAnswered;
  }

  /** Confirms an answer, if it has a number. Whether it comes for the first time. */
  isNew({ answer_number: number }) {
    const { resume } = this.frame;
    if (number === 0) return true;
    const isNew = number > resume.answers_received;
    resume.answers_received = Math.max(number, resume.answers_received);
    // Once it is kept, which here it is at once.
    this.write({ ack: { answer_number: resume.answers_received } });
    return isNew;
  }

  error(error) {
    say(`${error.code}: ${error.message}`);
    if (error.frame_id !== this.frame.id) return;
    if (error.code === "GOING_AWAY") return; // the frame is shown on the next stream
    this.frame.failures += 1;
    if (!error.retryable || this.frame.failures >= TRIES) {
      this.answered(error, false);
      return;
    }
    const pause = error.code === "RATE_LIMITED" ? 30_000 : FIRST_DELAY_MS;
    // Not earlier, though the stream may be another one then.
    this.frame.notBefore = Date.now() + Math.max(pause * 2 ** (this.frame.failures - 1), error.retry_after_ms);
    this.show();
  }

  answered(answer, decided) {
    this.frame.answer = answer;
    this.frame.decided = decided;
    this.call.end(); // the server ends the stream then
  }

  show() {
    const send = () => {
      if (this.reconnectDelayMs === null) this.write({ frame_event: this.frame.event });
    };
    this.timers.add(setTimeout(send, this.frame.notBefore - Date.now()));
  }

  write(event) {
    // A stream that has ended says so by its status.
    if (this.call.writable) this.call.write(event);
  }
}

// 127.example.com is somebody else's machine.
const isLoopback = (host) => host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));

/** TLS, except to this machine itself. */
function connect(ProactiveAI, args) {
  const loopback = isLoopback(args.addr.replace(/:\d+$/, "").replace(/^\[|\]$/g, ""));
  const options = {
    "grpc.max_receive_message_length": MOST_BYTES,
    "grpc.max_send_message_length": MOST_BYTES,
    // A connection that died without a word is known by its pings.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    // A stream of its own for each try; and a proxy has a loopback of its own.
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_http_proxy": loopback ? 0 : 1,
  };
  const credentials =
    loopback && !args.ca
      ? grpc.credentials.createInsecure()
      : grpc.credentials.createSsl(args.ca ? readFileSync(args.ca) : null);
  return new ProactiveAI(args.addr, credentials, options);
}

const isToken = (text) => /^[!-~]+$/.test(text);

/** A token for the next stream, or null: they last an hour, so it is asked for anew. */
function token(args) {
  if (args.token) return args.token;
  let printed;
  try {
    // No stream is open that would wait for it. What it says of its failures goes to standard error.
    const options = { stdio: ["ignore", "pipe", "inherit"], timeout: TOKEN_MS, encoding: "utf8" };
    printed = execSync(args["token-command"], options).trim();
  } catch (error) {
    // As shells say it.
    if ([126, 127].includes(error.status)) {
      throw new Fatal("--token-command cannot be run: there is no such program, or it is none");
    }
    const late = error.code === "ETIMEDOUT";
    const why = late ? `did not end within ${TOKEN_MS / 1000} s` : `ended with ${error.status ?? error.code}`;
    say(`no token: --token-command ${why}`);
    return null;
  }
  if (isToken(printed)) return printed;
  say("no token: --token-command printed no token, which is one line without blanks");
  return null;
}

/** Opens one stream after the other until the frame is answered. */
async function show(ProactiveAI, args, frame) {
  let [failures, refused] = [0, false];
  for (;;) {
    let [status, ready, delay] = [null, false, null];
    const credential = token(args);
    if (credential) {
      const client = connect(ProactiveAI, args);
      const session = new Session(client, credential, frame);
      status = await session.hold();
      client.close();
      if (frame.answer) return;
      say(`the stream ended: ${grpc.status[status.code]}: ${status.details}`);
      [ready, delay] = [session.ready, session.reconnectDelayMs];
    }
    if (status?.code === grpc.status.UNIMPLEMENTED) throw new Fatal("there is no ProactiveAI at this address");
    if (status?.code === grpc.status.PERMISSION_DENIED) frame.resume = newSession(); // it is another user's
    if (ready) [failures, refused] = [0, false];
    if (status?.code === grpc.status.UNAUTHENTICATED) {
      if (args.token) throw new Fatal("the token is refused: get a new one");
      if (refused) throw new Fatal("a fresh token is refused, too: sign in again");
      refused = true;
    }
    failures += 1;
    // Full jitter: clients that were cut off together do not come back together.
    delay ??= Math.random() * Math.min(MOST_DELAY_MS, FIRST_DELAY_MS * 2 ** (failures - 1));
    say(`trying again in ${(delay / 1000).toFixed(1)} s`);
    await sleep(delay);
  }
}

async function main() {
  const { values: args } = parseArgs({
    options: {
      addr: { type: "string", default: "127.0.0.1:50051" },
      token: { type: "string" },
      "token-command": { type: "string" },
      ocr: { type: "string", default: "" },
      frame: { type: "string" },
      app: { type: "string", default: "" },
      ca: { type: "string" },
      proto: { type: "string", default: path.join(__dirname, "../../../proto") },
    },
  });
  if (!args.token === !args["token-command"]) throw new Fatal("give --token or --token-command");
  if (args.token && !isToken(args.token)) throw new Fatal("--token is no token, which is one line without blanks");
  const definition = protoLoader.loadSync("proactive/v1/proactive.proto", {
    includeDirs: [args.proto],
    keepCase: true,
    longs: Number,
    enums: String,
    defaults: true,
    oneofs: true, // `event` names the one that is set
  });
  const { ProactiveAI } = grpc.loadPackageDefinition(definition).proactive.v1;
  const event = {
    jpeg_bytes: args.frame ? readFileSync(args.frame) : Buffer.alloc(0),
    app_name: args.app,
    ocr_text: args.ocr,
    capture_time: now(),
    screenshot_id: randomUUID(),
    context_version: CONTEXT_VERSION,
  };
  const { requestSerialize } = ProactiveAI.service.Session;
  if (requestSerialize({ frame_event: event }).length > MOST_BYTES) {
    throw new Fatal("the frame has more than 10 MiB: make the JPEG smaller");
  }
  // The frame, kept until it is answered, and the session that it was sent in.
  const frame = {
    event,
    id: event.screenshot_id,
    failures: 0,
    notBefore: 0,
    answer: null,
    decided: false,
    resume: newSession(),
  };
  await show(ProactiveAI, args, frame);
  console.log(JSON.stringify(frame.answer));
  process.exitCode = frame.decided ? 0 : 1;
}

main().catch((error) => {
  // A code: about an argument or a file, not a fault of this program.
  say(error instanceof Fatal || error.code ? error.message : error);
  process.exitCode = 1;
});
