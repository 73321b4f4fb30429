/** Ids of jobs: UUIDv7, made here, so that a repeated enqueue is recognised by the server. */

import { randomBytes } from 'node:crypto';

let last_ms = 0;
let count = 0;

/** Ids of one process ascend, so that the jobs of a batch run in the order in which they came. */
export function uuidv7() {
  const now = Date.now();
  count += 1;
  if (now > last_ms) [last_ms, count] = [now, 0];
  if (count > 0xfff) [last_ms, count] = [last_ms + 1, 0];
  const bytes = randomBytes(16);
  bytes.writeUIntBE(last_ms, 0, 6);
  bytes.writeUInt16BE(0x7000 | count, 6);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
