// Starts a real server on a store of its own, speaks to its API, and stops it by its process.

import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const START_MS = 20000;

export class Server {
  constructor(binary, folder, env = {}) {
    this.binary = binary;
    this.folder = folder;
    this.listen = "127.0.0.1:0";
    this.store = `sqlite:${join(folder, "jobs.db")}`;
    this.env = { PATH: process.env.PATH, HOME: folder, ...env };
    /** What `call` says it may, on a server that asks. */
    this.token = "";
  }

  /** With `config`, a dutiful.toml of this text. */
  static async fresh(binary, { env, config } = {}) {
    const folder = await mkdtemp(join(tmpdir(), "dutiful-browser-"));
    const server = new Server(binary, folder, env);
    if (config) await writeFile(join(folder, "dutiful.toml"), config);
    await server.start();
    return server;
  }

  /** Starts it; again on the same port once it had one. */
  async start() {
    const args = ["serve", "--listen", this.listen, "--store", this.store];
    const stdio = ["ignore", "ignore", "pipe"];
    this.process = spawn(this.binary, args, { cwd: this.folder, env: this.env, stdio });
    this.ended = new Promise((resolve) => this.process.on("exit", resolve));
    this.said = "";
    this.base = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no address: ${this.said}`)), START_MS);
      this.process.stderr.on("data", (piece) => {
        this.said = (this.said + piece).slice(-20000);
        const found = /listening on (http:\/\/\S+)/.exec(this.said);
        if (found) {
          clearTimeout(timer);
          resolve(found[1]);
        }
      });
      this.ended.then(() => reject(new Error(`the server ended: ${this.said}`)));
    });
    this.listen = new URL(this.base).host;
  }

  async stop() {
    this.process.kill("SIGTERM");
    const timer = setTimeout(() => this.process.kill("SIGKILL"), 15000);
    await this.ended;
    clearTimeout(timer);
  }

  async remove() {
    await this.stop();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** What a command prints as JSON on the same store. */
  async run(...args) {
    const all = ["--store", this.store, ...args, "--json"];
    const options = { cwd: this.folder, env: this.env };
    return JSON.parse((await promisify(execFile)(this.binary, all, options)).stdout);
  }

  async call(method, path, body) {
    const answer = await fetch(this.base + path, {
      method,
      headers: {
        ...(body !== undefined && { "Content-Type": "application/json" }),
        ...(this.token && { Authorization: `Bearer ${this.token}` }),
      },
      body: typeof body === "string" ? body : body && JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text.slice(0, 400)}`);
    return { text, json: text ? JSON.parse(text) : {} };
  }

  get = async (path) => (await this.call("GET", path)).json;
  post = async (path, body = {}) => (await this.call("POST", path, body)).json;

  /** Enqueues in batches; returns the ids in order. */
  async enqueue(jobs) {
    const ids = [];
    for (let from = 0; from < jobs.length; from += 1000) {
      const answer = await this.post("/v1/jobs/batch", { jobs: jobs.slice(from, from + 1000) });
      ids.push(...answer.jobs.map((job) => job.id));
    }
    return ids;
  }

  /** Registers a worker over the API. */
  async worker(name, queues, types) {
    const { id } = await this.post("/v1/workers", { name, queues, types });
    const path = `/v1/workers/${id}`;
    return {
      id,
      claim: async (options = {}) => (await this.post(`${path}/claim`, options)).jobs,
      claimText: async (options = {}) => (await this.call("POST", `${path}/claim`, options)).text,
      finish: (ends) => this.post(`${path}/finish`, { ends }),
      beat: (fences = []) => this.post(`${path}/extend`, { fences }),
      leave: () => this.call("DELETE", path),
    };
  }

  /** What one lease says of itself: `progress`, `log`, `complete`, `fail`. */
  lease = (fence, verb, body) => this.post(`/v1/leases/${encodeURIComponent(fence)}/${verb}`, body);
}

/** Asks until the answer is what is wanted; fails when it never is. */
export async function until(what, ask, ms = 10000) {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
