// One session over WebSocket, with nothing to install: a frame is shown, searches
// are answered from a small list of tasks, the decision is printed as one line of
// JSON. Node 22, or Node 20 with --experimental-websocket. A page in a browser can
// say the same. docs/websocket.md has every message, docs/clients.md what a client
// that is to be relied on does as well: it comes back when its stream breaks.
//   node examples/clients/websocket.mjs --frame screen.jpg --ocr 'the text on it'
// TOKEN, in the environment, is the token: all users of a machine see arguments.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

const { values: args } = parseArgs({
  options: {
    url: { type: "string", default: "ws://127.0.0.1:8080/v1/proactive" },
    frame: { type: "string" }, // a JPEG; without one, the frame is of text alone
    ocr: { type: "string", default: "" },
    app: { type: "string", default: "" },
  },
});

/** The user's tasks. A real desktop has them in a database. */
const TASKS = [
  { task_id: 8, status: "active", description: "Renew the TLS certificate of the staging cluster" },
  { task_id: 7, status: "active", description: "Water the plants" },
  { task_id: 4, status: "completed", description: "Book a table for Friday" },
];

const words = (text) => new Set(text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []);

/** Tasks that share words with the query, best first. */
function search(query) {
  const asked = words(query);
  const found = TASKS.map((task) => {
    const shared = [...words(task.description)].filter((word) => asked.has(word)).length;
    return { ...task, similarity: shared / Math.max(asked.size, 1), match_type: "fts" };
  });
  const matching = found.filter((task) => task.similarity > 0);
  return matching.sort((one, other) => other.similarity - one.similarity).slice(0, 20);
}

/** What the server is told of the tasks before it asks; fields it does not know do no harm. */
function context() {
  const of = (status) => TASKS.filter((task) => task.status === status);
  return { active_tasks: of("active"), completed_tasks: of("completed") };
}

function fail(sentence) {
  console.error(sentence);
  process.exit(1);
}

if (!process.env.TOKEN) fail("TOKEN is not set: it is to be a Firebase ID token.");
if (typeof WebSocket === "undefined") fail("This Node needs --experimental-websocket.");
let jpeg_base64; // what is undefined is not sent
try {
  jpeg_base64 = args.frame && readFileSync(args.frame).toString("base64");
} catch (error) {
  fail(error.message);
}

const frame_id = randomUUID();
let answered = false;

// WebSocket in a browser's manner cannot send headers, so the token is offered as a
// protocol; the server chooses the other one.
const socket = new WebSocket(args.url, ["proactive.v1", `bearer.${process.env.TOKEN}`]);
const say = (message) => socket.send(JSON.stringify(message));

socket.onopen = () => {
  say({
    type: "client_hello",
    protocol_version: "1.1",
    context_version: "1",
    session_context: context(),
    utc_offset_minutes: -new Date().getTimezoneOffset(),
  });
};

socket.onmessage = ({ data }) => {
  const told = JSON.parse(data);
  switch (told.type) {
    case "session_ready":
      console.error(`session ${told.session_id}, protocol ${told.protocol_version}`);
      say({
        type: "frame_event",
        screenshot_id: frame_id,
        jpeg_base64,
        app_name: args.app,
        ocr_text: args.ocr,
        capture_time: new Date().toISOString(),
      });
      break;
    case "tool_call_request": {
      const results = search(told.query);
      console.error(`searched: ${told.tool_kind}, ${results.length} found`);
      say({ type: "tool_result", request_id: told.request_id, results });
      break;
    }
    case "analysis_outcome": // the one answer to the frame,
    case "server_error": // or why there is none
      answered = told.frame_id === frame_id && told.type === "analysis_outcome";
      console.log(JSON.stringify(told));
      socket.close(1000);
      break;
    // Heartbeats, and what later versions say, are passed over.
  }
};

// Why a handshake is refused is not told to pages, and so not here: it stands in the
// problem details that `curl -i` shows, see docs/websocket.md.
let why = "the stream has ended";
socket.onerror = ({ message }) => (why = message || why);
socket.onclose = ({ code, reason }) => (why = `${why}: ${code} ${reason}`.trim());

process.on("exit", () => {
  if (!answered) console.error(`no decision: ${why}`);
  process.exitCode = answered ? 0 : 1;
});
