// Puts the corpus into every field that takes a text, visits every page, and looks for what ran.

import { check, expect, open, PATIENCE_MS, settled, visit } from "./check.mjs";
import { CORPUS } from "./corpus.mjs";

const QUEUE = "hostile";
const TYPE = "hostile";

/** One dead job, one completed and one active for each text, which stands in all their fields. */
export async function plant(server) {
  const job = (text, n) => ({
    type: TYPE, queue: QUEUE, payload: { [text]: text, list: [text] }, max_attempts: 1,
    group: text, tags: [text], correlation_id: text, unique_key: `${text}${n}`,
  });
  const planted = [];
  for (const [n, text] of CORPUS.entries()) {
    const worker = await server.worker(text, { [QUEUE]: 3 }, [TYPE]);
    await server.enqueue([0, 1, 2].map((k) => job(text, `${n}-${k}`)));
    const jobs = await worker.claim({ max: 3 });
    expect(jobs.length === 3, `${jobs.length} of 3 were claimed`);
    for (const one of jobs) {
      await server.lease(one.fence, "log", { lines: [text] });
      await server.lease(one.fence, "progress", { percent: 50, note: text });
    }
    const [dies, completes, stays] = jobs;
    const error = { class: text, message: `${text}\n${text}` };
    await worker.finish([
      { fence: dies.fence, outcome: "failed", error },
      { fence: completes.fence, outcome: "completed", result: { [text]: CORPUS } },
    ]);
    planted.push({ text, dead: dies.id, completed: completes.id, active: stays.id });
  }
  return planted;
}

/** What stands in the document that no page of ours makes; runs in the browser. */
function foreign() {
  const known = new Set(["A", "ARTICLE", "BDI", "BODY", "BUTTON", "CAPTION", "DATALIST", "DD",
    "DETAILS", "DIALOG", "DIV", "DL", "DT", "FORM", "H1", "H2", "HEAD", "HEADER", "HTML", "IMG",
    "INPUT", "LABEL", "LI", "LINK", "MAIN", "META", "NAV", "NOSCRIPT", "OL", "OPTION", "P", "PRE",
    "SCRIPT", "SECTION", "SELECT", "SPAN", "STRONG", "SUMMARY", "TABLE", "TBODY", "TD", "TEXTAREA",
    "TH", "THEAD", "TIME", "TITLE", "TR", "UL", "path", "rect", "svg"]);
  const found = [];
  if (window.__injected) found.push("a script of the corpus ran");
  for (const one of document.querySelectorAll("*")) {
    if (!known.has(one.tagName)) found.push(`<${one.tagName}>`);
    if (one.id === "injected" || one.classList.contains("injected")) found.push("#injected");
    for (const { name, value } of one.attributes) {
      const link = ["href", "src", "action", "formaction", "xlink:href"].includes(name);
      if (/^on|^style$|^srcdoc$/.test(name)) found.push(`${one.tagName} ${name}=${value}`);
      if (link && !/^(\/|#main$)/.test(value)) found.push(`${one.tagName} ${name}=${value}`);
    }
  }
  if (document.scripts.length !== 2) found.push(`${document.scripts.length} scripts`);
  return found;
}

/** Goes to another page as a click does and waits for what is wanted on it; in the browser. */
async function turn({ to, mark, text, patience }) {
  history.pushState(null, "", to);
  dispatchEvent(new Event("dutiful:moved"));
  const end = Date.now() + patience;
  const main = document.querySelector("main");
  const there = () => main.querySelector(mark) && !main.querySelector(".loading") &&
    main.textContent.includes(text);
  do {
    await new Promise((resolve) => setTimeout(resolve, 10));
    if (Date.now() > end) return [`"${text}" is not shown at ${to}`];
  } while (!there());
  return window.__foreign();
}

/** A page that is watched, on which `look(path, mark, text)` turns to another one. */
async function watched(browser, server) {
  const opened = await open(browser, server.base);
  await opened.context.addInitScript(`window.__foreign = ${foreign}`);
  await visit(opened.page, "/");
  const look = async (to, mark, text = "") => {
    const found = await opened.page.evaluate(turn, { to, mark, text, patience: PATIENCE_MS });
    expect(found.length === 0, `${to}: ${found.slice(0, 5).join(", ")}`);
  };
  return { ...opened, look };
}

/** Visits a part of what was planted in a page of its own. */
async function walk(browser, server, part) {
  const { context, trouble, look } = await watched(browser, server);
  for (const [n, { text, ...ids }] of part.entries()) {
    // All texts are in each result, and the notes of active jobs in their list.
    for (const state of n % 3 ? ["dead"] : ["dead", "completed", "active"]) {
      await look(`/jobs/${ids[state]}`, "ol.timeline li", text);
    }
    const filter = new URLSearchParams({ error: text, group: text });
    if (n % 2) await look(`/jobs?${filter}`, "a.job", text);
  }
  expect(trouble.length === 0, trouble.slice(0, 5).join("\n"));
  await context.close();
}

export async function hostile(browser, server) {
  let planted = [];
  await check(`${CORPUS.length} hostile texts can stand in every field`, async () => {
    planted = await plant(server);
  });
  const half = Math.ceil(planted.length / 2);
  await check("no hostile text does anything on the pages of its jobs and in filters", async () => {
    expect(planted.length === CORPUS.length, "not all were planted");
    await Promise.all([
      walk(browser, server, planted.slice(0, half)),
      walk(browser, server, planted.slice(half)),
    ]);
  });
  await check("no hostile text does anything on the other pages", async () => {
    const { page, context, trouble, look } = await watched(browser, server);
    const pages = ["/", "/queues", `/queues/${QUEUE}`, `/jobs?queue=${QUEUE}`, "/jobs?state=active",
      `/jobs?queue=${QUEUE}&state=dead`, `/dead?queue=${QUEUE}`, "/workers", "/settings", "/audit",
      "/alerts", "/dead"];
    for (const path of pages) {
      await look(path, "h1");
      await settled(page);
      await look(path, "h1");
    }
    await page.locator(".group").first().waitFor();
    const shown = await page.evaluate(() => document.querySelector("main").textContent);
    const missing = CORPUS.filter((text) => !shown.includes(text.slice(0, 60)));
    expect(missing.length === 0, `not shown as classes: ${missing.slice(0, 3)}`);
    expect(trouble.length === 0, trouble.slice(0, 5).join("\n"));
    await context.close();
  });
  await check("no hostile address does anything", async () => {
    const { context, trouble, look } = await watched(browser, server);
    for (const text of CORPUS.filter((_, n) => n % 8 === 0)) {
      const one = encodeURIComponent(text);
      for (const path of [`/jobs?error=${one}&tag=${one}&since=${one}`, `/jobs/${one}`,
        `/queues/${one}`, `/dead?queue=${one}`]) {
        await look(path, "h1");
      }
    }
    expect(trouble.length === 0, trouble.slice(0, 5).join("\n"));
    await context.close();
  });
  await check("the server sends the policy that these pages keep to", async () => {
    const answer = await fetch(`${server.base}/jobs?state=dead`);
    const policy = answer.headers.get("content-security-policy") || "";
    for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'",
      "base-uri 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"]) {
      expect(policy.includes(part), `${part} is not in "${policy}"`);
    }
    expect(!policy.includes("unsafe"), policy);
    expect(answer.headers.get("x-content-type-options") === "nosniff", "no nosniff");
  });
}
