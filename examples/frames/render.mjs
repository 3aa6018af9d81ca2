// Renders the demo's pages: NAME.html -> NAME.jpg and NAME.txt. See README.md.
import { readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const here = new URL(".", import.meta.url);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
});
const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
for (const file of readdirSync(here).filter((name) => name.endsWith(".html"))) {
  const name = file.slice(0, -".html".length);
  await page.goto(new URL(file, here).href);
  await page.screenshot({ path: fileURLToPath(new URL(`${name}.jpg`, here)), type: "jpeg", quality: 80 });
  const text = await page.evaluate(() => document.body.innerText);
  writeFileSync(new URL(`${name}.txt`, here), `${text.replace(/\n{2,}/g, "\n").trim()}\n`);
}
await browser.close();
