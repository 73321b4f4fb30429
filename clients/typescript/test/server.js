/** What tests share: a real server on a store of its own, a proxy that loses answers, waiting. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client, Worker } from '../src/index.js';

const BINARY = process.env.DUTIFUL_BIN ?? 'dutiful';
const PROGRAM = fileURLToPath(new URL('program.js', import.meta.url));
const PATIENCE_MS = 40_000;

export class Server {
  static async start() {
    const server = new Server();
    server.folder = await mkdtemp(path.join(os.tmpdir(), 'dutiful-client-'));
    await server.open(0);
    server.client = new Client({ url: server.url });
    return server;
  }

  async open(port = new URL(this.url).port) {
    const store = `sqlite:${path.join(this.folder, 'jobs.db')}`;
    const flags = ['serve', '--listen', `127.0.0.1:${port}`, '--store', store];
    this.process = spawn(BINARY, flags, { cwd: this.folder, stdio: ['ignore', 'ignore', 'pipe'] });
    const said = [];
    for await (const line of readline.createInterface({ input: this.process.stderr })) {
      said.push(line);
      const [, url] = line.match(/listening on (http:\S+)/) ?? [];
      if (!url) continue;
      this.url = url;
      this.process.stderr.resume();
      return;
    }
    throw new Error(`the server did not start: ${said.join('\n')}`);
  }

  /** As kill -9 does. */
  async kill() {
    const gone = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await gone;
  }

  async close() {
    if (this.process.exitCode === null && this.process.signalCode === null) await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** A worker of one queue, started, that stops with the test. */
  async work(t, queue, handlers, options = {}) {
    const { slots = 4, ...more } = options;
    const settings = { queues: { [queue]: slots }, lease_ms: 3000, on_error: () => {} };
    const worker = new Worker({ url: this.url, ...settings, ...more });
    for (const [type, handler] of Object.entries(handlers)) worker.handle(type, handler);
    t.after(() => worker.stop());
    await worker.start();
    return worker;
  }

  /** A worker in a process of its own, and `says(line)`, which awaits a line of its output. */
  program(t, queue, slots = 2) {
    const flags = [PROGRAM, this.url, queue, String(slots)];
    const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => child.kill('SIGKILL'));
    const lines = [];
    readline.createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
    return { child, says: (line) => eventually(() => lines.includes(line)) };
  }
}

/** Awaits that the function answers something true, and answers that. */
export async function eventually(look) {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > until) throw new Error(`never came true: ${look}`);
    await sleep(20);
  }
}

/** A promise and its resolve. */
export function deferred() {
  let resolve;
  const promise = new Promise((it) => (resolve = it));
  return { promise, resolve };
}

/** A proxy before the server; `meddle(request, response, forward)` may lose or replace answers. */
export async function proxy(t, url, meddle) {
  const front = http.createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = parts.length ? Buffer.concat(parts) : undefined;
    const forward = async () => {
      const { host, connection, 'content-length': _, ...headers } = request.headers;
      const answer = await fetch(url + request.url, { method: request.method, headers, body });
      return { status: answer.status, text: await answer.text() };
    };
    const answer = await meddle(request, response, forward);
    if (!answer) return;
    response.writeHead(answer.status, { 'content-type': 'application/json' });
    response.end(answer.text);
  });
  front.listen(0, '127.0.0.1');
  await once(front, 'listening');
  t.after(() => {
    front.closeAllConnections();
    front.close();
  });
  return `http://127.0.0.1:${front.address().port}`;
}
