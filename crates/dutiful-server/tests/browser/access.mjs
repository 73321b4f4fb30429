// A server that asks who one is: signing in and out, rights, tokens, the audit log, redaction.

import { spawnSync } from "node:child_process";

import { check, expect, open, settled, visit } from "./check.mjs";
import { fits, PHONE_DARK } from "./pages.mjs";
import { Server, until } from "./server.mjs";

const PASSWORD = "correct horse battery staple";
const REDACT = `[redact]
send_email = ["password", "card.number"]
`;
const SECRET = "tr0ub4dor&3";
const CARD = "4000123412341234";

const signIn = (page, field, text, button) => page.getByLabel(field, { exact: true }).fill(text)
  .then(() => page.getByRole("button", { name: button, exact: true }).click());
const withPassword = (page, text) => signIn(page, "Password", text, "Sign in");
const withToken = (page, text) => signIn(page, "Token", text, "Sign in with the token");

/** A request as the page would send it, with who is signed in; resolves to its status. */
const asked = (page, method, path) => page.evaluate(async ([how, where]) => {
  const headers = { "Content-Type": "application/json" };
  return (await fetch(where, { method: how, headers, body: "{}" })).status;
}, [method, path]);

async function quiet(trouble, when) {
  await check(`nothing went wrong ${when}`, async () => {
    expect(trouble.length === 0, trouble.join("\n"));
  });
}

/** A server with a password and a token for these tests, and a dead job with secrets in it. */
async function guarded(binary) {
  const { stdout } = spawnSync(binary, ["password"], { input: `${PASSWORD}\n`, encoding: "utf8" });
  const env = { DUTIFUL_PASSWORD_HASH: stdout.trim() };
  const server = await Server.fresh(binary, { env, config: REDACT });
  const all = "read,enqueue,work,operate,admin";
  server.token = (await server.run("tokens", "create", "tests", "--scopes", all)).token;
  const payload = {
    to: "ann@example.com", password: SECRET, card: { number: CARD, brand: "visa" },
  };
  const [id] = await server.enqueue([{
    type: "send_email", queue: "mail", max_attempts: 1, payload,
  }]);
  const worker = await server.worker("postman", { mail: 1 }, ["send_email"]);
  const [job] = await worker.claim({ max: 1 });
  const error = { class: "SmtpError", message: "no route to the mail server" };
  await worker.finish([{ fence: job.fence, outcome: "failed", error }]);
  return { server, worker, id };
}

export async function access(browser, binary, pictures) {
  const { server, worker, id } = await guarded(binary);
  try {
    await entering(browser, server, id, pictures);
    await looking(browser, server, id, pictures);
    await redacted(browser, server, worker, id, pictures);
    await giving(browser, server, pictures);
    await auditing(browser, server, id, pictures);
    await onPhone(browser, server, id, pictures);
  } finally {
    await server.remove();
  }
  await closing(browser, binary, pictures);
}

async function entering(browser, server, id, pictures) {
  const { page, context, trouble } = await open(browser, server.base);
  await check("a server with a password shows nothing before somebody signs in", async () => {
    await visit(page, `/jobs/${id}`);
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    expect(await page.getByLabel("Password").evaluate((one) => one === document.activeElement),
      "the field has not the focus");
    expect(await page.getByRole("navigation").count() === 0, "there is a navigation");
    await fits(page);
    await pictures(page, "sign-in");
  });
  await check("a wrong password and a wrong token are refused with a sentence", async () => {
    await withPassword(page, "guess");
    await page.getByRole("alert").getByText("This is not the password").waitFor();
    await withToken(page, `dtf_${"0".repeat(48)}`);
    await page.getByRole("alert").getByText("This token is not valid").waitFor();
    expect(await asked(page, "GET", "/v1/stats").catch(() => 0) !== 200, "it was let in");
  });
  await check("the password lets in, to the page that was asked for", async () => {
    await withPassword(page, PASSWORD);
    await page.getByRole("heading", { name: "send_email" }).waitFor();
    expect(new URL(page.url()).pathname === `/jobs/${id}`, page.url());
    await page.locator(".line.live").waitFor();
    await page.reload();
    await page.getByRole("heading", { name: "send_email" }).waitFor();
  });
  await check("signing out takes everything away, and the next request is refused", async () => {
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByText("You are signed out.").waitFor();
    expect(!(await page.content()).includes("ann@example.com"), "the payload is still there");
    expect(await asked(page, "POST", `/v1/jobs/${id}/retry`) === 401, "it was not refused");
    await page.reload();
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
  });
  await quiet(trouble, "while signing in and out");
  await context.close();
}

async function looking(browser, server, id, pictures) {
  const { page, context, trouble } = await open(browser, server.base);
  const { token, id: number } = await server.run("tokens", "create", "viewer", "--scopes", "read");
  await check("a token that may only read cannot press a button, and is told why", async () => {
    await visit(page, `/jobs/${id}`);
    await withToken(page, token);
    const retry = page.getByRole("button", { name: "Retry", exact: true });
    await retry.waitFor();
    expect(await retry.isDisabled(), "the button is enabled");
    expect(/needs the scope operate/.test(await retry.getAttribute("title")), "no title");
    await retry.focus();
    await page.keyboard.press("Enter");
    await page.locator(".toast").getByText(/needs the scope operate/).waitFor();
    await pictures(page, "read-only");
    expect((await server.get(`/v1/jobs/${id}`)).state === "dead", "it was retried");
    for (const path of ["/jobs", "/dead", "/queues", "/alerts"]) {
      await visit(page, path);
      const able = page.locator("main button:not([aria-disabled]):not([disabled])", {
        hasText: /Retry|Discard|Cancel|Delete|Pause|Clear|Edit|Acknowledge|Change|Turn/,
      });
      expect(await able.count() === 0, `${path} has ${await able.allTextContents()}`);
    }
    await visit(page, "/settings");
    for (const name of ["Tokens", "Push handlers"]) {
      expect(await page.getByRole("heading", { name }).count() === 0, `${name} are shown`);
    }
  });
  await check("a request of it that is made anyway is refused", async () => {
    expect(await asked(page, "POST", `/v1/jobs/${id}/retry`) === 403, "not 403");
    expect(await asked(page, "POST", "/v1/tokens") === 403, "not 403");
    expect((await server.get(`/v1/jobs/${id}`)).state === "dead", "it was retried");
  });
  await check("a token that is revoked is out on its next look", async () => {
    await visit(page, "/jobs");
    await server.call("DELETE", `/v1/tokens/${number}`);
    await page.getByText("You are not signed in any more.").waitFor();
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
  });
  await quiet(trouble, "with a token that may only read");
  await context.close();
}

async function redacted(browser, server, worker, id, pictures) {
  const { page, context, trouble } = await open(browser, server.base);
  const made = ["tokens", "create", "support", "--scopes", "read,operate"];
  const { token } = await server.run(...made);
  await check("redacted fields are not shown and keep their value in an edit", async () => {
    await visit(page, `/jobs/${id}`);
    await withToken(page, token);
    const shown = page.getByLabel("Payload", { exact: true });
    await shown.getByText("ann@example.com").waitFor();
    await page.getByText("2 redacted fields").waitFor();
    const all = await page.content();
    expect(!all.includes(SECRET) && !all.includes(CARD), "a secret is on the page");
    await page.getByRole("button", { name: "Edit and retry" }).click();
    await page.getByText(/keep their value when left so/).waitFor();
    await pictures(page, "redacted");
    const box = page.getByLabel("Payload (JSON)");
    await box.fill((await box.inputValue()).replace("ann@", "bob@"));
    await page.getByRole("button", { name: "Enqueue it again" }).click();
    await page.waitForURL((url) => url.pathname !== `/jobs/${id}`);
    const [job] = await worker.claim({ max: 1 });
    expect(job.payload.to === "bob@example.com", JSON.stringify(job.payload));
    expect(job.payload.password === SECRET && job.payload.card.number === CARD, "values were lost");
    await worker.finish([{ fence: job.fence, outcome: "completed" }]);
  });
  await quiet(trouble, "on the page of a job with redacted fields");
  await context.close();
}

/** Makes a token by the form, uses it, and revokes it. */
async function giving(browser, server, pictures) {
  const { page, context, trouble } = await open(browser, server.base);
  const use = (token) => fetch(`${server.base}/v1/stats`, {
    headers: { Authorization: `Bearer ${token}` },
  }).then((answer) => answer.status);
  let token = "";
  await check("a token is made, shown once, and does what it may", async () => {
    await visit(page, "/settings");
    await withPassword(page, PASSWORD);
    await page.getByRole("button", { name: "New token" }).click();
    await page.getByLabel("read", { exact: false }).uncheck();
    await page.getByRole("button", { name: "Make it" }).click();
    await page.getByText("Give it a name.").waitFor();
    await page.getByText("Tick at least one.").waitFor();
    await page.getByLabel("Name").fill("deploy <b>bot</b>");
    await page.getByLabel("read", { exact: false }).check();
    await page.getByLabel("enqueue", { exact: false }).check();
    await fits(page);
    await pictures(page, "token-new");
    await page.getByRole("button", { name: "Make it" }).click();
    const box = page.getByRole("textbox", { name: /^The token of/ });
    token = await box.inputValue();
    await page.getByText("it is not shown again").waitFor();
    await page.getByRole("button", { name: "Copy the token" }).waitFor();
    await page.keyboard.press("Escape");
    expect(await box.isVisible(), "Escape took the token away");
    await pictures(page, "token-made");
    expect(await use(token) === 200, `${token} is refused`);
    await page.getByRole("button", { name: "I have kept it" }).click();
    await page.reload();
    await settled(page);
    await page.getByRole("row", { name: /deploy <b>bot<\/b>/ }).waitFor();
    expect(!(await page.content()).includes(token), "it is shown again");
    await fits(page);
  });
  await check("handlers that are registered over HTTP are listed without what is secret", async () => {
    const secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"];
    const url = "https://shop.example/hidden-path";
    await server.call("PUT", "/v1/handlers/send_sms", { url, secrets, queue: "mail" });
    await visit(page, "/settings");
    const row = page.getByRole("row", { name: /send_sms/ });
    await row.getByText("https://shop.example:443").waitFor();
    await row.getByRole("link", { name: "mail" }).waitFor();
    await row.getByRole("cell", { name: "1", exact: true }).waitFor();
    const shown = await page.content();
    expect(!shown.includes("hidden-path") && !shown.includes("MfKQ"), "a secret is shown");
    await pictures(page, "handlers");
    await server.call("DELETE", "/v1/handlers/send_sms");
  });
  await check("a token is revoked after a question, and refused from then on", async () => {
    await page.getByRole("button", { name: "Revoke the token deploy <b>bot</b>" }).click();
    await page.getByRole("button", { name: "Leave it" }).click();
    expect(await use(token) === 200, "a no revoked it");
    await page.getByRole("button", { name: "Revoke the token deploy <b>bot</b>" }).click();
    await page.getByRole("button", { name: "Revoke it" }).click();
    await page.getByRole("row", { name: /deploy/ }).waitFor({ state: "detached" });
    await until("a refusal", async () => (await use(token)) === 401);
  });
  await quiet(trouble, "while a token was made and revoked");
  await context.close();
}

async function auditing(browser, server, id, pictures) {
  const { page, context, trouble } = await open(browser, server.base);
  await check("what was done stands in the audit log, with who did it and to what", async () => {
    await visit(page, "/queues");
    await withPassword(page, PASSWORD);
    await page.getByRole("button", { name: "Pause queue mail" }).click();
    await page.getByRole("button", { name: "Resume queue mail" }).click();
    await page.getByRole("button", { name: "Pause queue mail" }).waitFor();
    await page.getByRole("link", { name: "Audit", exact: true }).click();
    const paused = page.locator("tbody tr", { hasText: "pause" }).first();
    await paused.getByRole("link", { name: "mail" }).waitFor();
    await page.locator(`tbody a[href="/jobs/${id}"]`).first().waitFor();
    await fits(page);
    await pictures(page, "audit");
  });
  await check("the log is narrowed by who and what, and read on by key", async () => {
    const actions = page.getByRole("combobox", { name: "What" });
    const [, pause] = await actions.locator("option", { hasText: "pause" }).evaluateAll(
      (all) => ["", ...all.map((one) => one.value)]);
    await actions.selectOption(pause);
    await page.waitForURL(/action=/);
    const rows = page.locator("tbody tr");
    const shown = await rows.allTextContents();
    expect(shown.length > 0 && shown.every((text) => text.includes(pause)), shown.join("\n"));
    await actions.selectOption("");
    for (let n = 0; n < 30; n += 1) {
      await server.post("/v1/queues/mail/pause");
      await server.post("/v1/queues/mail/resume");
    }
    await page.reload();
    await rows.nth(49).waitFor();
    await page.getByRole("button", { name: "Older entries" }).click();
    await page.locator(`tbody a[href="/jobs/${id}"]`).first().waitFor();
    expect(await rows.count() > 60, `${await rows.count()} rows`);
    await rows.filter({ hasText: "tests" }).first().waitFor();
  });
  await quiet(trouble, "in the audit log");
  await context.close();
}

async function onPhone(browser, server, id, pictures) {
  const { page, context, trouble } = await open(browser, server.base, PHONE_DARK);
  await check("signing in, tokens, audit and signing out fit a phone, dark", async () => {
    await visit(page, "/settings");
    await fits(page);
    await pictures(page, "sign-in-phone");
    await withPassword(page, PASSWORD);
    await page.getByRole("row", { name: /^tests/ }).waitFor();
    await settled(page);
    await fits(page);
    await pictures(page, "tokens-phone");
    await page.getByRole("link", { name: "Audit", exact: true }).click();
    await page.locator("tbody tr").first().waitFor();
    await fits(page);
    await pictures(page, "audit-phone");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByText("You are signed out.").waitFor();
    await fits(page);
  });
  await quiet(trouble, "on a phone");
  await context.close();
}

/** On a server that asks nobody, the first token shuts the door; who made it stays inside. */
async function closing(browser, binary, pictures) {
  const server = await Server.fresh(binary);
  const [mine, other] = [await open(browser, server.base), await open(browser, server.base)];
  await check("the first token closes an open server, and who made it goes on", async () => {
    await visit(other.page, "/queues");
    const { page } = mine;
    await visit(page, "/settings");
    expect(await page.getByRole("button", { name: "Sign out" }).count() === 0, "somebody is in");
    await page.getByRole("button", { name: "New token" }).click();
    await page.getByText(/From the first token on it asks everybody/).waitFor();
    await pictures(page, "token-first");
    await page.getByLabel("Name").fill("ann");
    await page.getByLabel("admin", { exact: false }).uncheck();
    await page.getByRole("button", { name: "Make it" }).click();
    await page.getByText("The first token needs the scope admin.").waitFor();
    await page.getByLabel("admin", { exact: false }).check();
    await page.getByRole("button", { name: "Make it" }).click();
    await page.getByRole("textbox", { name: "The token of ann" }).waitFor();
    await page.getByRole("button", { name: "I have kept it" }).click();
    await page.getByRole("button", { name: "Sign out" }).waitFor();
    await page.getByRole("row", { name: /^ann/ }).waitFor();
    await page.locator(".line.live").waitFor();
    await other.page.getByRole("heading", { name: "Sign in" }).waitFor();
    expect(await other.page.getByLabel("Password").count() === 0, "there is no password");
  });
  for (const { trouble, context } of [mine, other]) {
    await quiet(trouble, "while a server was closed");
    await context.close();
  }
  await server.remove();
}
