// Speaks to /v1 of the server that served this page; the browser sends who is signed in along.

import { base } from "./base.js";

/** Where one signs in and out, and learns who is signed in. */
export const SESSION = "/v1/session";
const TIMEOUT_MS = 15000;
/** Most ids that one call changes. */
const CHUNK = 1000;

let refused = () => {};

/** Sets what happens when an answer says that nobody is signed in, or that they may not. */
export const whenRefused = (f) => (refused = f);

/** An answer that is no success; `status` 0: the server cannot be reached. */
export class Problem extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

async function send(method, path, { body, raw, timeout = TIMEOUT_MS } = {}) {
  const headers = { Accept: "application/json" };
  const text = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  if (text !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  let content;
  try {
    const signal = AbortSignal.timeout(timeout);
    answer = await fetch(base + path, { method, headers, body: text, signal, cache: "no-store" });
    content = await answer.text();
  } catch (error) {
    const late = error.name === "TimeoutError";
    const what = late ? `no answer within ${timeout / 1000} s` : "the server cannot be reached";
    throw new Problem(0, "unreachable", what);
  }
  if (answer.ok) return content;
  if ([401, 403].includes(answer.status) && path !== SESSION) refused();
  throw problem(answer, content);
}

function problem(answer, content) {
  try {
    const { code, detail, title } = JSON.parse(content);
    const said = detail || title || `status ${answer.status}`;
    return new Problem(answer.status, code, sentence(answer, code, said));
  } catch {
    return new Problem(answer.status, "unknown", `the server answered ${answer.status}`);
  }
}

/** What a program needs no more words for, in words for people. */
function sentence(answer, code, said) {
  if (code === "forbidden") return `You may not do this: ${said}`;
  const wait = answer.status === 429 && Number(answer.headers.get("Retry-After"));
  return wait ? `This was asked too often; it goes again in ${wait} s` : said;
}

const json = (text) => (text ? JSON.parse(text) : {});

export const get = async (path, options) => json(await send("GET", path, options));
export const getText = (path, options) => send("GET", path, options);
export const post = async (path, body = {}) => json(await send("POST", path, { body }));
export const put = async (path, body) => json(await send("PUT", path, { body }));
/** Sends a JSON text as it is, so that its numbers are not read and written again. */
export const postText = async (path, raw) => json(await send("POST", path, { raw }));
export const remove = async (path) => json(await send("DELETE", path));

/** A query string of what is set. */
export function query(values) {
  const pairs = Object.entries(values).filter(([, value]) => value !== "" && value != null);
  const text = new URLSearchParams(pairs).toString();
  return text && `?${text}`;
}

export const jobPath = (id) => `/v1/jobs/${encodeURIComponent(id)}`;
export const queuePath = (name) => `/v1/queues/${encodeURIComponent(name)}`;

/** Changes jobs by id; returns how many of each answer. */
export async function changeJobs(verb, ids) {
  const seen = {};
  for (let from = 0; from < ids.length; from += CHUNK) {
    const chunk = ids.slice(from, from + CHUNK);
    const { changes } = await post("/v1/jobs/change", { verb, ids: chunk });
    for (const { change } of changes) seen[change] = (seen[change] || 0) + 1;
  }
  return seen;
}
