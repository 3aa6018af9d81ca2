// Drives the page of `serve --dev` as a person would, in a real browser. Arguments: the address that the server printed,
// the browser, a screenshot and its text; and, if wanted, where to put a picture of the page. Says "kill" and "start"
// when the server shall be killed and started again, and reads the new address from standard input.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { chromium } = createRequire(import.meta.url)("playwright-core");
const [address, executablePath, jpeg, text, picture] = process.argv.slice(2);
const told = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function ask(what) {
  console.log(what);
  const { value, done } = await told.next();
  assert(!done, "the test has ended");
  return value;
}

const browser = await chromium.launch({
  executablePath,
  args: ["--disable-gpu", "--disable-background-networking", "--disable-sync"],
});
const page = await browser.newPage({ viewport: { width: 1160, height: 1060 } });
page.setDefaultTimeout(15_000);
const faults = [];
page.on("pageerror", (error) => faults.push(error.message));
page.on("dialog", (dialog) => faults.push(dialog.message()));
page.on("console", (line) => {
  if (line.text().includes("Content Security Policy")) faults.push(line.text());
});
const asked = [];
page.on("request", (request) => asked.push(request.url()));

const state = (wanted) => page.waitForSelector(`#status[data-state="${wanted}"]`);
const entries = (words) => page.locator("#talk > li", { hasText: words });
const entry = (words) => entries(words).first();
const outcomes = page.locator("#talk .outcome");
const until = (locator, count) => locator.nth(count - 1).waitFor();

/** Files from a desktop's folder, dragged onto the page. */
async function drop(selector, files) {
  const { x, y, width, height } = await page.locator(selector).boundingBox();
  const devtools = await page.context().newCDPSession(page);
  const data = { items: [], files, dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) {
    await devtools.send("Input.dispatchDragEvent", { type, x: x + width / 2, y: y + height / 2, data });
  }
}

// The token is in the address, and then no more.
await page.goto(address);
await state("ready");
const base = new URL(address).origin;
assert.equal(page.url(), `${base}/`);
assert(await page.getByLabel("Token").inputValue());

// A screenshot is dropped with its text, and sent by the keyboard.
await page.getByRole("textbox", { name: "Your tasks" }).fill("Prepare the Q3 board pack for Anke\nOrder new badges for the Lisbon team\n"
  + "[x] Reconcile the October travel expenses\n[-] Book the hotel in Porto for the spring launch");
await page.getByLabel("App").fill("Huddle");
await page.getByLabel("Window").fill("#finance");
await drop("#drop", [jpeg, text]);
await page.locator("#preview").waitFor();
await page.waitForFunction(() => document.getElementById("text").value.includes("Q3 figures"));
await page.getByLabel("Text on the screen").press("Tab");
await page.keyboard.press("Enter");
await until(outcomes, 1);

const search = page.locator("#talk .search", { hasText: "Prepare the Q3 board pack for Anke (active" }).first();
await search.waitFor();
assert.equal(await search.getByText("Lisbon").count(), 0);
const title = await outcomes.locator(".what").innerText();
assert.match(title, /Q3 figures.*Berlin/);
await until(page.locator("#bills tr"), 1);
const total = await page.locator("#total").innerText();
assert.match(total, /\d+\s+[\d,]+\s+\d+\s+\d+ ms\s+\$0\.00\d+/);
assert.doesNotMatch(total, /\$0\.000000/);

// The connection breaks; the session goes on, and what was answered is not answered again.
await page.getByRole("button", { name: "Break the connection" }).click();
await entry("The session is taken up again").waitFor();
assert.equal(await outcomes.count(), 1);
if (picture) {
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: picture });
}

// What goes out is counted from here on, and what is said of one type is lost on its way.
await page.evaluate(() => {
  const send = WebSocket.prototype.send;
  window.sent = {};
  WebSocket.prototype.send = function (text) {
    const { type } = JSON.parse(text);
    window.sent[type] = (window.sent[type] ?? 0) + 1;
    if (type !== window.lost) send.call(this, text);
  };
});
const lose = (type) => page.evaluate((type) => { window.lost = type; }, type);
const sent = (type) => page.evaluate((type) => window.sent[type] ?? 0, type);

async function example() {
  await page.getByRole("button", { name: "Use an example" }).click();
  await page.waitForFunction(() => document.getElementById("text").value.includes("Q3 figures"));
  await page.getByRole("button", { name: "Send", exact: true }).click();
}

async function breakConnection() {
  await lose("");
  const before = await entries("The session is taken up again").count();
  await page.getByRole("button", { name: "Break the connection" }).click();
  await until(entries("The session is taken up again"), before + 1);
}

// A frame that the server has goes on: it is not sent again, its search is asked again.
const searches = page.locator("#talk .search");
const before = await searches.count();
await lose("tool_result");
await example();
await until(searches, before + 1);
await breakConnection();
await until(outcomes, 2);
assert.equal(await sent("frame_event"), 1);

// A frame that the server never got is sent again.
await lose("frame_event");
await example();
await until(entries("You send a screenshot"), 3);
await page.waitForFunction(() => window.sent.frame_event === 2);
await breakConnection();
await until(outcomes, 3);
assert.equal(await sent("frame_event"), 3);

// A screen is captured; what a browser without a screen cannot offer is a picture of one, so that one is painted.
await page.evaluate(() => {
  navigator.mediaDevices.getDisplayMedia = async () => {
    const screen = document.createElement("canvas");
    [screen.width, screen.height] = [320, 200];
    const paper = screen.getContext("2d");
    const paint = () => { paper.fillStyle = "#357"; paper.fillRect(0, 0, 320, 200); };
    paint();
    setInterval(paint, 50);
    return screen.captureStream();
  };
});
await page.getByRole("button", { name: "Capture the screen" }).click();
await page.waitForFunction(() => {
  const preview = document.getElementById("preview");
  return !preview.hidden && preview.naturalWidth === 320;
});

// The server is gone. A frame waits, and what it says stays text.
await page.evaluate(() => { window.before = true; });
await ask("kill");
await state("waiting");
await page.getByRole("button", { name: "Use an example" }).click();
await page.waitForFunction(() => document.getElementById("text").value.includes("Q3 figures"));
await page.getByLabel("Window").fill("<img src=x onerror=alert(1)><b>#finance</b>");
await page.getByRole("button", { name: "Send", exact: true }).click();
await entry("A screenshot waits for a session").getByText("<b>#finance</b>").waitFor();
assert.equal(await page.locator("#talk b").count(), 0);

// Another server, whose key is another one: the page says so, and takes the new address.
const next = await ask("start");
await state("refused");
await entry("The token is refused").waitFor();
await page.goto(next);
await state("ready");
await until(outcomes, 4);
await until(page.locator("#bills tr"), 4);
assert.equal(page.url(), `${base}/`);
assert(await page.evaluate(() => window.before), "the page was loaded again");

assert.deepEqual(faults, []);
assert(asked.every((url) => url.startsWith(`${base}/`) || /^(blob|data):/.test(url)), asked.join("\n"));
assert(asked.every((url) => !url.includes("token=") || url.includes("#token=")), "the token was in a request");
await browser.close();
console.log("done");
process.exit(0);
