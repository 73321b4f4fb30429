// What an operator does: watch, filter, mend, pause, retry many, with the mouse and the keyboard.

import { axe, check, expect, open, settled, visit } from "./check.mjs";
import { until } from "./server.mjs";

const figure = (page, label) =>
  page.locator(".metric", { hasText: label }).locator(".figure").textContent();

const row = (page, id) => page.locator("tbody tr", { has: page.locator(`a[href="/jobs/${id}"]`) });

/** An empty store says what to do next. */
export async function empty(browser, server) {
  const { page, context } = await open(browser, server.base);
  await check("an empty store shows a line to copy that enqueues a first job", async () => {
    await visit(page, "/");
    await page.getByText("Nothing here yet").waitFor();
    const line = await page.locator("pre.command").textContent();
    expect(line.includes(`${server.base}/v1/jobs`), line);
    const body = /-d '(.*)'/s.exec(line)[1];
    const { outcome, id } = await server.post("/v1/jobs", body);
    expect(outcome === "new", "the line's body is no job");
    await page.getByText("No worker serves queue mail, 1 job waits").waitFor();
    await server.call("DELETE", `/v1/jobs/${id}`);
  });
  await context.close();
}

export async function watching(browser, server) {
  const { page, context, trouble } = await open(browser, server.base);
  const worker = await server.worker("live", { live: 2 }, ["tick"]);
  await check("numbers on the overview move by themselves", async () => {
    await visit(page, "/");
    await page.locator(".line.live").waitFor();
    const before = await figure(page, "Queue depth");
    await server.enqueue([1, 2, 3].map(() => ({ type: "tick", queue: "live", payload: {} })));
    await until("another depth", async () => (await figure(page, "Queue depth")) !== before);
  });
  await check("the charts go back as far as they are asked, and the address says so", async () => {
    await visit(page, "/");
    const spans = page.getByRole("navigation", { name: "Time shown by the charts" });
    const asked = page.waitForResponse((answer) => answer.url().includes("/v1/history?span=day"));
    await spans.getByRole("link", { name: "Day" }).click();
    expect((await asked).ok(), "the history was not answered");
    await page.waitForURL("**/?span=day");
    await page.getByText(/^(No history yet|Figures are of now)/).waitFor();
    await page.reload();
    await spans.locator('a[aria-current="true"]', { hasText: "Day" }).waitFor();
    await spans.getByRole("link", { name: "10 minutes" }).click();
    await page.getByText(/^(No history yet|Figures are of now)/).waitFor({ state: "detached" });
  });
  await check("a job is seen on its way from pending to completed without a reload", async () => {
    await visit(page, "/jobs?queue=live");
    const before = await worker.claim({ queues: { live: 3 }, max: 3 });
    await worker.finish(before.map(({ fence }) => ({ fence, outcome: "completed" })));
    const [id] = await server.enqueue([{ type: "tick", queue: "live", payload: {} }]);
    await row(page, id).getByText("pending").waitFor();
    const [job] = await worker.claim({ max: 1 });
    expect(job.id === id, "another job was claimed");
    await row(page, id).getByText("active").waitFor();
    await worker.finish([{ fence: job.fence, outcome: "completed" }]);
    await row(page, id).getByText("completed").waitFor();
  });
  await check("log lines and progress of a running job come live", async () => {
    await server.enqueue([{ type: "tick", queue: "live", payload: {} }]);
    const [job] = await worker.claim({ max: 1 });
    await visit(page, `/jobs/${job.id}`);
    await server.lease(job.fence, "progress", { percent: 40, note: "almost half" });
    await page.getByText("almost half").waitFor();
    await server.lease(job.fence, "log", { lines: ["a line that just came"] });
    await page.getByText("a line that just came").waitFor();
    await worker.finish([{ fence: job.fence, outcome: "completed", result: { sum: 7 } }]);
    await page.locator(".facts").getByText("completed").waitFor();
  });
  await check("nothing went wrong while watching", async () => {
    expect(trouble.length === 0, trouble.join("\n"));
  });
  await worker.leave();
  await context.close();
}

export async function filtering(browser, server) {
  const { page, context } = await open(browser, server.base);
  await check("a filter narrows the list and stands in the address", async () => {
    await visit(page, "/jobs");
    await page.getByLabel("Error text").fill("insufficient funds");
    await page.getByRole("button", { name: "Filter", exact: true }).click();
    await page.waitForURL(/error=insufficient/);
    await page.locator("tbody tr").first().waitFor();
    await page.waitForFunction(() => {
      const rows = [...document.querySelectorAll("tbody tr")];
      return rows.length > 0 && rows.every((one) => one.textContent.includes("CardDeclined"));
    });
    await page.getByRole("navigation", { name: "States" }).getByText("dead").click();
    await page.waitForURL(/state=dead/);
    await page.waitForFunction(() => {
      const states = [...document.querySelectorAll("tbody .state")];
      return states.length > 0 && states.every((one) => one.textContent === "dead");
    });
    await page.reload();
    await settled(page);
    expect((await page.getByLabel("Error text").inputValue()) === "insufficient funds", "lost");
    await page.goBack();
    await page.waitForURL((url) => !url.search.includes("state=dead"));
  });
  await check("pages follow one another by key, without a job twice", async () => {
    await visit(page, "/jobs?queue=pictures&state=completed");
    await page.locator("tbody tr").nth(49).waitFor();
    await page.getByRole("button", { name: "Older jobs" }).click();
    await page.locator("tbody tr").nth(99).waitFor();
    const links = await page.locator("a.job").evaluateAll((all) => all.map((one) => one.href));
    expect(new Set(links).size === links.length && links.length === 100, `${links.length} links`);
  });
  await check("an id in the search opens its job, and a slash goes to the search", async () => {
    const { jobs: [job] } = await server.get("/v1/jobs?limit=1&state=completed");
    await visit(page, "/");
    await page.keyboard.press("/");
    await page.keyboard.type(job.id);
    await page.keyboard.press("Enter");
    await page.waitForURL(`**/jobs/${job.id}`);
    await page.locator(".facts").waitFor();
  });
  await context.close();
}

/** A job that dies of `error`; resolves to its id. */
async function die(server, worker, job, error) {
  const ids = await server.enqueue([].concat(job).map((one) => ({ max_attempts: 1, ...one })));
  const jobs = await worker.claim({ max: ids.length });
  expect(jobs.length === ids.length, `${jobs.length} of ${ids.length} claimed`);
  await worker.finish(jobs.map((one) => ({ fence: one.fence, outcome: "failed", error })));
  return ids;
}

export async function mending(browser, server) {
  const { page, context, trouble } = await open(browser, server.base);
  const worker = await server.worker("mender", { mend: 200 }, ["charge"]);
  await check("a dead job is edited, runs again and completes, numbers as written", async () => {
    const job = '{"jobs":[{"type":"charge","queue":"mend","max_attempts":1,' +
      '"payload":{"order":12345678901234567890,"ratio":1.10,"card":"4000"}}]}';
    const { jobs: [{ id }] } = await server.post("/v1/jobs/batch", job);
    const [claimed] = await worker.claim({ max: 1 });
    const error = { class: "CardDeclined", message: "no such card\n  at charge.rb:7" };
    await worker.finish([{ fence: claimed.fence, outcome: "failed", error }]);
    await visit(page, `/jobs/${id}`);
    const shown = await page.getByLabel("Payload", { exact: true }).textContent();
    expect(shown.includes("12345678901234567890") && shown.includes("1.10"), shown);
    await page.getByRole("button", { name: "Edit and retry" }).click();
    const box = page.getByLabel("Payload (JSON)");
    const text = await box.inputValue();
    expect(text.includes("12345678901234567890"), text);
    await box.fill(text.replace('"4000"', '"4242'));
    await page.getByRole("alert").getByText(/^Line 4, column \d+: a text is not closed/).waitFor();
    await page.getByRole("button", { name: "Enqueue it again" }).click();
    expect(await box.isVisible(), "a payload that is no JSON was sent");
    await box.fill(text.replace('"4000"', '"4242"'));
    await page.getByRole("button", { name: "Enqueue it again" }).click();
    await page.waitForURL((url) => url.pathname.startsWith("/jobs/") && !url.pathname.includes(id));
    const again = await worker.claimText({ max: 1 });
    expect(again.includes("12345678901234567890") && again.includes("4242"), again);
    const { jobs: [next] } = JSON.parse(again);
    await worker.finish([{ fence: next.fence, outcome: "completed", result: { paid: true } }]);
    await page.locator(".facts").getByText("completed").waitFor();
    await page.getByLabel("Result", { exact: true }).getByText('"paid": true').waitFor();
  });
  await check("a group of dead jobs is retried after a question that says how many", async () => {
    const charge = (n) => ({ type: "charge", queue: "mend", payload: { n } });
    const jobs = [...Array(120).keys()].map(charge);
    const ids = await die(server, worker, jobs, { class: "BankClosed", message: "closed today" });
    await visit(page, "/dead?queue=mend");
    const group = page.locator(".group", { hasText: "BankClosed" });
    await group.getByRole("button", { name: /^Retry all/ }).click();
    await page.getByRole("heading", { name: /Retry 120 jobs/ }).waitFor();
    await page.getByRole("button", { name: "Leave it" }).click();
    expect((await server.get(`/v1/jobs/${ids[0]}`)).state === "dead", "a no did something");
    await group.getByRole("button", { name: /^Retry all/ }).click();
    await page.getByRole("button", { name: "Retry 120 jobs" }).click();
    await page.locator(".operation", { hasText: "done" }).getByText(/120 changed/).waitFor();
    await group.waitFor({ state: "detached" });
    const states = await Promise.all(ids.map((id) => server.get(`/v1/jobs/${id}`)));
    expect(states.every((one) => one.state === "pending"), "some are not pending");
  });
  await check("chosen jobs are cancelled together", async () => {
    await visit(page, "/jobs?queue=mend&state=pending");
    for (const n of [0, 1, 2]) await page.locator("tbody input[type=checkbox]").nth(n).check();
    await page.getByRole("button", { name: "Cancel", exact: true }).click();
    await page.getByRole("button", { name: "Cancel 3 jobs" }).click();
    await page.getByText("Cancel: 3 done").waitFor();
    const { jobs } = await server.get("/v1/jobs?queue=mend&state=cancelled");
    expect(jobs.length >= 3, `${jobs.length} are cancelled`);
  });
  await check("a waiting job is rescheduled and then cancelled from its page", async () => {
    const [id] = await server.enqueue([{ type: "charge", queue: "mend", payload: {} }]);
    await visit(page, `/jobs/${id}`);
    await page.getByRole("button", { name: "Reschedule" }).click();
    await page.getByRole("button", { name: "Reschedule it" }).click();
    await page.locator(".facts").getByText("scheduled").waitFor();
    await page.getByRole("button", { name: "Cancel", exact: true }).click();
    await page.getByRole("button", { name: "Cancel it" }).click();
    await page.locator(".facts").getByText("cancelled").waitFor();
  });
  await check("nothing went wrong while mending", async () => {
    expect(trouble.length === 0, trouble.join("\n"));
  });
  await worker.leave();
  await context.close();
}

export async function pausing(browser, server) {
  const { page, context } = await open(browser, server.base);
  const hold = { type: "hold", queue: "stop-go", payload: {} };
  await server.enqueue(Array(7).fill(hold));
  const paused = async () => (await server.get("/v1/queues/stop-go")).paused;
  await check("a queue is paused, the overview says so, and it is resumed", async () => {
    await visit(page, "/queues");
    await page.getByRole("button", { name: "Pause queue stop-go" }).click();
    await until("a pause", paused);
    await page.getByRole("button", { name: "Resume queue stop-go" }).waitFor();
    await page.getByRole("link", { name: "Overview", exact: true }).click();
    const said = page.locator(".verdict").getByText("Queue stop-go is paused, 7 jobs wait in it");
    // As a hand does: first the pointer, which holds the sentences still, then the click.
    await said.hover();
    await said.click();
    await page.waitForURL("**/queues/stop-go");
    await page.getByRole("button", { name: "Resume queue stop-go" }).click();
    await until("a resume", async () => !(await paused()));
  });
  await check("a queue is cleared only after its name was typed", async () => {
    await visit(page, "/queues/stop-go");
    await page.getByRole("button", { name: "Clear queue stop-go" }).click();
    const sure = page.getByRole("button", { name: "Delete 7 jobs" });
    expect(await sure.isDisabled(), "it can be done at once");
    await page.getByLabel(/to go on/).fill("stop-go");
    await sure.click();
    await page.getByText("7 jobs deleted").waitFor();
    const { jobs } = await server.get("/v1/jobs?queue=stop-go&state=pending");
    expect(jobs.length === 0, "some are left");
  });
  await context.close();
}

/** What fires is seen, taken over, and its threshold changed. */
export async function alerting(browser, server) {
  const { page, context, trouble } = await open(browser, server.base);
  const alert = async () => {
    const { alerts } = await server.get("/v1/alerts");
    return alerts.find((one) => one.id === "dead:alerting");
  };
  await check("a dead job is an alert: counted on every page, named on the overview", async () => {
    const worker = await server.worker("alerting", { alerting: 1 }, ["break"]);
    await server.enqueue([{ type: "break", queue: "alerting", payload: {}, max_attempts: 1 }]);
    const [job] = await worker.claim({ max: 1, wait_ms: 5000 });
    const error = { class: "Broken", message: "it broke" };
    await worker.finish([{ fence: job.fence, outcome: "failed", error }]);
    await worker.leave();
    await until("the alert", async () => (await alert())?.state === "firing", 25000);
    await visit(page, "/");
    await page.getByRole("heading", { name: /alerts? firing$/ }).waitFor();
    await page.getByRole("link", { name: /^\d+ alerts? firing$/ }).click();
    await page.waitForURL("**/alerts");
    await page.getByText("1 dead job in queue alerting waits for a person").waitFor();
  });
  await check("an alert is acknowledged after a question", async () => {
    await page.getByRole("button", { name: "Acknowledge dead:alerting" }).click();
    await page.getByRole("heading", { name: "Acknowledge this alert?" }).waitFor();
    const found = await axe(page);
    expect(found.length === 0, found.join("\n"));
    expect((await alert()).state === "firing", "it was done without an answer");
    await page.getByRole("button", { name: "Acknowledge", exact: true }).click();
    await until("its end", async () => (await alert()).state === "resolved");
    expect((await alert()).acknowledged.by, "nobody knows of it");
  });
  await check("a threshold is changed and set back", async () => {
    const shown = page.locator("tbody tr", { hasText: "Depth" }).first();
    await page.getByRole("button", { name: "Change Depth", exact: true }).click();
    await page.getByLabel("Threshold", { exact: true }).fill("-1");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("A number, 0 or more.").waitFor();
    await page.getByLabel("Threshold", { exact: true }).fill("5000");
    await page.getByRole("button", { name: "Save" }).click();
    await shown.getByText("5,000 jobs").waitFor();
    await page.getByRole("button", { name: "Undo Depth" }).click();
    await shown.getByText("10,000 jobs").waitFor();
  });
  await check("nothing went wrong with the alerts", async () => {
    expect(trouble.length === 0, trouble.join("\n"));
  });
  await context.close();
}

export async function keyboard(browser, server) {
  const { page, context } = await open(browser, server.base);
  await check("Tab reaches the first action of the jobs table, and the focus is seen", async () => {
    await visit(page, "/jobs");
    await page.locator("tbody tr").first().waitFor();
    await page.keyboard.press("Tab");
    const skip = await page.evaluate(() => document.activeElement.textContent);
    expect(skip === "Skip to the content", `the first stop is "${skip}"`);
    await page.keyboard.press("Enter");
    const inTable = () => page.evaluate(() => {
      return document.activeElement.matches("tbody input, tbody a");
    });
    let steps = 0;
    while (!(await inTable())) {
      expect(steps < 50, "50 steps were not enough");
      await page.keyboard.press("Tab");
      steps += 1;
    }
    const outline = await page.evaluate(() => {
      return getComputedStyle(document.activeElement).outlineStyle;
    });
    expect(outline !== "none", "the focus cannot be seen");
    await page.keyboard.press("Space");
    await page.getByText("1 job chosen").waitFor();
  });
  await check("a dialog holds the focus and goes by Escape without doing anything", async () => {
    const { jobs: [job] } = await server.get("/v1/jobs?state=dead&queue=mail&limit=1");
    await visit(page, `/jobs/${job.id}`);
    await page.getByRole("button", { name: "Discard" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Discard this job?" }).waitFor();
    const held = await page.evaluate(() => Boolean(document.activeElement.closest("dialog")));
    expect(held, "the focus is outside");
    const found = await axe(page);
    expect(found.length === 0, found.join("\n"));
    await page.keyboard.press("Escape");
    await page.locator("dialog").waitFor({ state: "detached" });
    expect((await server.get(`/v1/jobs/${job.id}`)).state === "dead", "it was discarded");
  });
  await context.close();
}

/** Stops the server of this test and starts it again: run it last. */
export async function losing(browser, server) {
  const { page, context } = await open(browser, server.base);
  await check("a lost server is said, and the page recovers by itself", async () => {
    await visit(page, "/");
    await page.locator(".line.live").waitFor();
    await server.stop();
    await page.getByText("The server was lost").waitFor();
    await server.start();
    await page.locator(".line.live").waitFor();
    await page.getByText("The server was lost").waitFor({ state: "detached" });
  });
  await context.close();
}
