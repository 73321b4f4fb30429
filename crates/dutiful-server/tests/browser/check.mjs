// Counts checks, opens pages that are watched, and asks axe what it finds on them.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const required = createRequire(join(process.env.DUTIFUL_TEST_BROWSER, "here.js"));
const { chromium } = required("playwright-core");
const AXE = readFileSync(required.resolve("axe-core/axe.min.js"), "utf8");

const counts = { passed: 0, failed: 0 };
/** Longest wait for anything on a page. */
export const PATIENCE_MS = 10000;

/** Runs one check; a failure is told and counted, and the others go on. */
export async function check(name, body) {
  const began = Date.now();
  try {
    await body();
    counts.passed += 1;
    console.log(`ok ${name} (${Date.now() - began} ms)`);
  } catch (error) {
    counts.failed += 1;
    console.log(`FAILED ${name}: ${String(error.stack || error).slice(0, 1500)}`);
  }
}

export function expect(holds, what) {
  if (!holds) throw new Error(what);
}

export function close() {
  const word = counts.failed ? "FAILED" : "ok";
  console.log(`test result: ${word}. ${counts.passed} passed; ${counts.failed} failed`);
  return counts.failed === 0 && counts.passed > 0;
}

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
  });
}

/** Tells the console of each violation of the policy, from the first moment of a document. */
function report() {
  document.addEventListener("securitypolicyviolation", (event) => {
    console.error(`violation: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`);
  });
}

/** A page in a context of its own; `trouble` gathers what must not happen on any page. */
export async function open(browser, base, options = {}) {
  const context = await browser.newContext({ baseURL: base, locale: "en-GB", ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  await context.addInitScript(report);
  const page = await context.newPage();
  const trouble = [];
  page.on("dialog", (dialog) => {
    trouble.push(`a dialog: ${dialog.message()}`);
    dialog.dismiss().catch(() => {});
  });
  page.on("pageerror", (error) => trouble.push(`an error: ${error.stack || error}`));
  page.on("console", (message) => {
    const text = message.text();
    // A server that is stopped on purpose, or an answer that is no success, is logged, too.
    if (message.type() === "error" && !/^Failed to load resource/.test(text)) {
      trouble.push(`on the console: ${text}`);
    }
  });
  page.on("popup", (other) => trouble.push(`another window: ${other.url()}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(base)) trouble.push(`asked elsewhere: ${request.url()}`);
  });
  return { page, context, trouble };
}

/** Goes to a page of the dashboard and waits until it shows what it loaded. */
export async function visit(page, path) {
  await page.goto(path, { waitUntil: "domcontentloaded" });
  await settled(page);
}

/** Waits until nothing on the page says that it is loading. */
export async function settled(page) {
  await page.locator("h1").first().waitFor();
  await page.waitForFunction(() => !document.querySelector(".loading"));
}

/** What axe finds serious or critical, as lines. */
export async function axe(page) {
  const session = await page.context().newCDPSession(page);
  const run = async (expression) => {
    const { result, exceptionDetails } = await session.send("Runtime.evaluate", {
      expression, awaitPromise: true, returnByValue: true,
    });
    if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails).slice(0, 500));
    return result.value;
  };
  await run(`${AXE}; 0`);
  const found = await run(`axe.run(document, { resultTypes: ["violations"] }).then((all) =>
    all.violations.filter((one) => ["serious", "critical"].includes(one.impact)).map((one) =>
      one.id + ": " + one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160) + " " +
        (node.any[0]?.message || "")).join(" | ")))`);
  const rules = await run("axe.getRules().length");
  await session.detach();
  expect(rules > 50, "axe did not look");
  return found;
}
