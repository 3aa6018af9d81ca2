// A desktop in a page: a session over WebSocket, as docs/websocket.md describes it.
// Whatever comes from outside is shown as text, never as markup.

import { example, jpegOf, captureScreen, base64 } from "./picture.js";
import { contextOf, search } from "./tasks.js";

const $ = (id) => document.getElementById(id);

/** What a close code means for whoever reads it; the session itself goes by `comesBack`. */
const CODES = {
  1000: "closed in good order",
  1002: "what this page said was no WebSocket",
  1005: "closed without a code",
  1006: "the connection broke",
  1007: "a message was not UTF-8",
  1008: "that session belongs to another user",
  1009: "a message was too large",
  1011: "the session failed",
  1012: "the server is shutting down",
  4000: "the stream has grown old, or its token",
  4001: "this page was silent for too long",
  4002: "this page left its answers unread",
  4003: "no hello came in time",
  4004: "a message took too long to arrive",
  4100: "another stream has taken the session up",
};
const FIRST_DELAY = 500;
const LONGEST_DELAY = 15_000;
/** What the page promises. A hidden page's timers sleep, so the server's heartbeats are answered, too. */
const HEARTBEAT = 30_000;
const DRAINED = "GOING_AWAY";

const session = {
  token: "", socket: null, wanted: false, ready: false,
  id: "", secret: "", answers: 0, cursor: "",
  attempt: 0, delay: 0, timer: 0, beat: 0, watch: 0, patience: 60_000, heard: 0,
};
/** Frames without an answer: their event, and the entry that shows them. */
const frames = new Map();
const totals = { calls: 0, input: 0, output: 0, time: 0, cost: 0 };
const instance = name("page");
let context = { text: null, version: 0 };
let counted = 0;
let picture = null;

// ---- What is shown

function element(tag, text, kind) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function tell(what, kind = "", ...lines) {
  const entry = element("li", undefined, kind);
  const title = element("p", undefined, "what");
  const now = new Date();
  const time = element("time", now.toLocaleTimeString());
  time.dateTime = now.toISOString();
  title.append(time, what);
  entry.append(title);
  for (const line of lines) if (line) entry.append(line instanceof Node ? line : element("p", line, "small"));
  const talk = $("talk");
  talk.prepend(entry);
  while (talk.children.length > 500) talk.lastChild.remove();
  return entry;
}

function show(state, text) {
  const status = $("status");
  status.dataset.state = state;
  status.textContent = text;
  $("leave").disabled = !session.wanted;
  $("break").disabled = !session.ready;
  $("connect").classList.toggle("main", !session.wanted);
}

function bill(frame, bill) {
  const cells = [frame, bill.model_answered || bill.model_asked, bill.model_calls,
    count(bill.prompt_tokens), count(bill.output_tokens + bill.thinking_tokens),
    `${bill.total_ms} ms`, dollars(bill.cost_micro_usd)];
  const row = element("tr");
  row.append(...cells.map((cell, at) => element(at ? "td" : "th", cell)));
  row.firstChild.scope = "row";
  row.title = `model ${bill.model_ms} ms, your searches ${bill.tool_ms} ms; `
    + `${bill.cached_tokens} tokens in were cached, ${bill.thinking_tokens} out were thoughts`;
  $("bills").append(row);
  totals.calls += bill.model_calls;
  totals.input += bill.prompt_tokens;
  totals.output += bill.output_tokens + bill.thinking_tokens;
  totals.time += bill.total_ms;
  totals.cost += bill.cost_micro_usd;
  const sums = ["", totals.calls, count(totals.input), count(totals.output), `${totals.time} ms`, dollars(totals.cost)];
  [...$("total").children].slice(1).forEach((cell, at) => { cell.textContent = sums[at]; });
}

const count = (number) => Number(number).toLocaleString("en");
const dollars = (micros) => `$${(micros / 1e6).toFixed(6)}`;
const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

/** Not crypto.randomUUID, which pages of other hosts than this one do not have without TLS. */
function name(kind) {
  const bytes = crypto.getRandomValues(new Uint8Array(4));
  return `${kind}-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

// ---- The connection

function start() {
  const token = $("token").value.trim();
  if (!/^[\w-]+\.[\w-]+\.[\w-]*$/.test(token)) {
    show("refused", "No token yet");
    $("token").focus();
    return;
  }
  // Another token may be another user, whose session it would not be.
  if (token !== session.token) Object.assign(session, { token, id: "", secret: "", answers: 0, cursor: "" });
  Object.assign(session, { wanted: true, attempt: 0, delay: 0 });
  drop();
  open();
}

function open() {
  clearTimeout(session.timer);
  show("connecting", session.attempt ? "Reconnecting …" : "Connecting …");
  const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/proactive`;
  const socket = new WebSocket(url, ["proactive.v1", `bearer.${session.token}`]);
  let opened = false;
  session.socket = socket;
  session.heard = Date.now();
  socket.onopen = () => { opened = true; hello(); };
  socket.onmessage = ({ data }) => {
    if (session.socket === socket) hear(JSON.parse(data));
  };
  socket.onclose = ({ code, reason }) => {
    if (session.socket !== socket) return;
    const said = CODES[code] ?? "closed";
    if (opened) tell(`${code}: ${said}`, "wait", reason, comesBack(code) ? "" : "The page does not reconnect after this.");
    drop();
    if (!session.wanted) return;
    if (!comesBack(code)) return stop("refused", `${code}: ${said}`);
    if (opened) again(); else whyNot();
  };
}

/** From 4000 "reconnect", from 4100 "do not", as will be true of codes to come. */
function comesBack(code) {
  if (code >= 4000) return code < 4100;
  return ![1000, 1002, 1007, 1008, 1009].includes(code);
}

/** Forgets the stream, which may still be open. */
function drop(code = 1000) {
  clearTimeout(session.timer);
  clearInterval(session.beat);
  clearInterval(session.watch);
  const socket = session.socket;
  session.socket = null;
  session.ready = false;
  socket?.close(code);
}

function stop(state, text) {
  session.wanted = false;
  drop();
  show(state, text);
}

function again(atLeast = 0) {
  const most = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** session.attempt);
  const delay = Math.max(atLeast, session.delay, most / 2 + Math.random() * (most / 2));
  session.attempt += 1;
  session.delay = 0;
  show("waiting", `Reconnecting in ${seconds(delay)}`);
  session.timer = setTimeout(open, delay);
}

/** A browser tells no page why it was refused, so a plain request is made with the same token. */
async function whyNot() {
  show("waiting", "The server does not answer");
  try {
    const answer = await fetch("/v1/jobs?page_size=1", {
      headers: { authorization: `Bearer ${session.token}` }, signal: AbortSignal.timeout(5_000),
    });
    if (!session.wanted || session.socket) return;
    if (answer.status === 401) {
      const { detail } = await answer.json();
      tell("The token is refused", "bad", detail,
        "Paste the one that the server printed when it started, or open its address in this tab.");
      stop("refused", "Another token is needed");
      $("token").value = "";
      $("token").focus();
      return;
    }
    if (answer.ok && session.attempt === 0) {
      tell("The server takes no stream from here", "wait", "The browser's console says why; the page tries again.");
    }
    again(1000 * (Number(answer.headers.get("retry-after")) || 0));
  } catch {
    if (session.wanted && !session.socket) again();
  }
}

function say(event) {
  if (session.socket?.readyState === WebSocket.OPEN) session.socket.send(JSON.stringify(event));
}

function beat() {
  say({ type: "heartbeat", sent_at: new Date().toISOString() });
}

function hello() {
  const { id, secret, answers, cursor } = session;
  context = { text: $("tasks").value, version: context.version + 1 };
  say({
    type: "client_hello", protocol_version: "1.1", client_instance_id: instance, app_version: "page",
    context_version: `v${context.version}`, session_context: contextOf(context.text),
    utc_offset_minutes: -new Date().getTimezoneOffset(), heartbeat_interval_ms: HEARTBEAT,
    resume: id ? { session_id: id, secret, answers_received: answers } : {}, follow: { cursor },
  });
}

// ---- What the server says

const heard = {
  session_ready(ready) {
    const { resumed } = ready;
    const { frames_in_flight: under = [], frames_answered: answered = [] } = resumed ?? {};
    const known = new Set([...under, ...answered]);
    if (!resumed) session.answers = 0;
    session.id = ready.session_id;
    session.secret = ready.resume_secret ?? "";
    session.patience = 3 * (ready.heartbeat_interval_ms || 20_000);
    Object.assign(session, { ready: true, attempt: 0, delay: 0 });
    session.beat = setInterval(beat, HEARTBEAT / 2);
    session.watch = setInterval(listenFor, 5_000);
    show("ready", "Session ready");
    const kept = resumed && `Frames that the server has in hand: ${under.length}; that it has answered: ${answered.length}`;
    const back = resumed ? "The session is taken up again" : "A session is ready";
    tell(back, "good", `${ready.session_id}, protocol ${ready.protocol_version}`, kept);
    for (const frame of frames.values()) {
      if (!known.has(frame.event.screenshot_id)) transmit(frame);
    }
  },

  tool_call_request({ request_id, frame_id, job_id, tool_kind, query }) {
    const results = search($("tasks").value, query, tool_kind);
    say({ type: "tool_result", request_id, frame_id, results });
    const list = element("ul");
    list.append(...results.map((found) =>
      element("li", `${found.description} (${found.status}, ${found.similarity.toFixed(2)})`)));
    const how = tool_kind === "search_similar" ? "by meaning" : "by words";
    tell(`A search ${how}: ${query}`, "search", `for ${job_id ? "a job" : frame_id}`,
      results.length ? "Your tasks that share words with it:" : "None of your tasks shares a word with it.",
      results.length ? list : "");
  },

  cancel_tool_request({ reason }) {
    tell("A search is wanted no more", "", reason);
  },

  analysis_outcome(outcome) {
    finish(outcome);
    const { frame_id, task, outcome_kind } = outcome;
    if (task) {
      const facts = [`priority ${task.priority}`, task.inferred_deadline && `by ${task.inferred_deadline}`,
        task.source_app && `from ${task.source_app}`, `${Math.round(task.confidence * 100)} % sure`, ...task.tags];
      tell(task.title, "good outcome", task.description, facts.filter(Boolean).join(" · "), outcome.reason, `A new task, for ${frame_id}`);
    } else {
      const title = outcome_kind === "reject_task" ? "A request, but no new task" : "No task found";
      tell(title, "outcome", outcome.reason, outcome.current_activity, `for ${frame_id}`);
    }
    if (outcome.bill) bill(frame_id, outcome.bill);
  },

  server_error(error) {
    const { code, message, frame_id, retryable, retry_after_ms } = error;
    const frame = frames.get(frame_id);
    const entry = tell(`${code}: ${message}`, "bad", frame_id && `for ${frame_id}`,
      retry_after_ms ? `It may be sent again in ${seconds(retry_after_ms)}.` : "");
    if (!frame) return finish(error);
    // The next stream takes it.
    if (code === DRAINED) return confirm(error);
    finish(error);
    if (!retryable) return;
    const button = element("button", "Send it again");
    button.onclick = () => {
      button.remove();
      frames.set(frame_id, frame);
      if (session.ready) transmit(frame);
    };
    entry.append(button);
  },

  // A hidden page's timers sleep, its messages do not.
  server_heartbeat: beat,

  go_away({ reason, reconnect_delay_ms, resumable, time_left_ms }) {
    tell("The server asks to reconnect", "wait", reason, `This stream ends in ${seconds(time_left_ms)} at most.`);
    session.delay = reconnect_delay_ms;
    // Accepted frames are answered here, unless the session can be taken up by the next stream.
    if (resumable) session.timer = setTimeout(() => { drop(); open(); }, reconnect_delay_ms);
  },

  log_event(event) {
    // A gap before the first entry has none; "" would mean "from now on".
    if (event.cursor) session.cursor = event.cursor;
    const { message, job, frame_decided: decided } = event;
    if (message) tell(`A message: ${message.title}`, "message", message.body, message.kind);
    if (job) tell(`A job is ${job.state}`, "", job.outcome?.task?.title, job.error?.message, `${job.job_id}, for ${job.frame_id}`);
    if (decided && decided.session_id !== session.id) {
      tell("Another session of yours decided", "", decided.outcome?.task?.title, decided.outcome?.reason, decided.outcome?.frame_id);
    }
    if (event.event === "gap") tell("Some of your log is kept no more", "wait");
  },
};

function hear(event) {
  session.heard = Date.now();
  if (Object.hasOwn(heard, event.type)) heard[event.type](event);
}

/** A server that says nothing, not even heartbeats, is gone. */
function listenFor() {
  if (Date.now() - session.heard < session.patience) return;
  tell("The server has fallen silent", "wait");
  drop();
  again();
}

function confirm({ answer_number }) {
  if (!answer_number) return;
  session.answers = Math.max(session.answers, answer_number);
  say({ type: "ack", answer_number });
}

function finish(answer) {
  frames.delete(answer.frame_id);
  confirm(answer);
}

// ---- Frames

function transmit({ event }) {
  const text = $("tasks").value;
  const changed = text !== context.text;
  if (changed) context = { text, version: context.version + 1 };
  const tasks = changed ? { session_context: contextOf(text) } : {};
  say({ ...event, context_version: `v${context.version}`, ...tasks });
}

async function send() {
  const text = $("text").value.trim();
  if (!picture && !text) return complain("There is neither a picture nor a text yet.");
  complain("");
  counted += 1;
  const event = {
    type: "frame_event", screenshot_id: name(`shot-${counted}`), frame_number: counted,
    app_name: $("app").value, window_title: $("window").value, ocr_text: text,
    capture_time: new Date().toISOString(),
  };
  const thumbnail = picture && element("img");
  if (picture) {
    event.jpeg_base64 = await base64(picture);
    thumbnail.src = URL.createObjectURL(picture);
    thumbnail.alt = "The screenshot that was sent";
  }
  const frame = { event };
  frames.set(event.screenshot_id, frame);
  tell(session.ready ? "You send a screenshot" : "A screenshot waits for a session", "you",
    [event.app_name, event.window_title].filter(Boolean).join(", "),
    `${event.screenshot_id}, ${picture ? `${Math.ceil(picture.size / 1024)} KiB` : "text alone"}`, thumbnail);
  if (session.ready) transmit(frame);
  choose(null);
  $("text").value = "";
}

function complain(sentence) {
  $("said").textContent = sentence;
}

function choose(jpeg) {
  const preview = $("preview");
  if (preview.src) URL.revokeObjectURL(preview.src);
  preview.removeAttribute("src");
  picture = jpeg;
  preview.hidden = !jpeg;
  if (jpeg) preview.src = URL.createObjectURL(jpeg);
}

async function take(files) {
  for (const file of files) {
    if (file.type.startsWith("text/")) $("text").value = await file.text();
    else await use(() => jpegOf(file));
  }
}

async function use(make) {
  try {
    choose(await make());
    complain("");
  } catch (error) {
    if (error.name !== "NotAllowedError") complain(`That cannot be used: ${error.message}`);
  }
}

// ---- Who may be clicked, dropped on, pasted into

$("door").onsubmit = (event) => { event.preventDefault(); start(); };
$("leave").onclick = () => { stop("idle", "Not connected"); tell("You left"); };
$("break").onclick = () => {
  tell("You broke the connection", "wait");
  drop();
  again();
};
$("shot").onsubmit = (event) => { event.preventDefault(); send(); };
$("file").onchange = async ({ target }) => { await take([...target.files]); target.value = ""; };
$("capture").hidden = !navigator.mediaDevices?.getDisplayMedia;
$("capture").onclick = () => use(captureScreen);
$("example").onclick = () => use(async () => {
  const { app, window, text, jpeg } = await example();
  Object.entries({ app, window, text }).forEach(([field, value]) => { $(field).value = value; });
  return jpeg;
});
addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
addEventListener("dragleave", ({ relatedTarget }) => { if (!relatedTarget) $("drop").classList.remove("over"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  take([...event.dataTransfer.files]);
});
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) { event.preventDefault(); take([...event.clipboardData.files]); }
});
addEventListener("online", () => { if (session.wanted && !session.socket) open(); });

/** The token of the address goes where nobody reads it over a shoulder, nor finds it in the history. */
function arrive() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  history.replaceState(null, "", location.pathname);
  $("token").value = token;
  start();
}
addEventListener("hashchange", arrive);
arrive();
