/** Checks the signature of a webhook by the Standard Webhooks specification. */

import { createHmac, timingSafeEqual } from 'node:crypto';
import { DutifulError } from './errors.js';

const TOLERANCE_S = 300;

/** Not from us, changed on the way, or too old: answer with 400 and do nothing else. */
export class WebhookRefused extends DutifulError {}

/**
 * Answers the body as parsed JSON, or throws WebhookRefused. `body` must be the bytes as they came:
 * a text or bytes, never what was parsed and printed again. While a secret is being replaced, give
 * both: one signature that fits one secret is enough.
 */
export function verifyWebhook(body, headers, secrets, options = {}) {
  const { tolerance_s = TOLERANCE_S, now_s = Date.now() / 1000 } = options;
  const [id, timestamp, signature] = ['id', 'timestamp', 'signature'].map((part) => {
    const value = header(headers, `webhook-${part}`);
    if (!value) throw new WebhookRefused(`the header webhook-${part} is missing`);
    return value;
  });
  if (!/^\d{1,12}$/.test(timestamp)) throw new WebhookRefused('the timestamp is not a number');
  if (Math.abs(now_s - Number(timestamp)) > tolerance_s) {
    throw new WebhookRefused(`the timestamp is over ${tolerance_s} s away from this clock`);
  }
  const given = signature.split(' ').filter((one) => one.startsWith('v1,'));
  const expected = [secrets].flat().map((secret) => {
    const hmac = createHmac('sha256', keyOf(secret)).update(`${id}.${timestamp}.`).update(body);
    return `v1,${hmac.digest('base64')}`;
  });
  // Every pair is compared, so that the time taken does not say which one came close.
  const fits = expected.flatMap((one) => given.map((other) => isSame(one, other)));
  if (!fits.includes(true)) throw new WebhookRefused('no signature fits');
  return JSON.parse(typeof body === 'string' ? body : new TextDecoder().decode(body));
}

function header(headers, name) {
  if (typeof headers.get === 'function') return headers.get(name);
  const found = Object.keys(headers).find((key) => key.toLowerCase() === name);
  return found === undefined ? undefined : String(headers[found]);
}

function keyOf(secret) {
  const text = secret.replace(/^whsec_/, '');
  const key = Buffer.from(text, 'base64');
  if (key.length === 0 || key.toString('base64').replace(/=+$/, '') !== text.replace(/=+$/, '')) {
    throw new TypeError('a webhook secret is whsec_ and base64');
  }
  return key;
}

function isSame(one, other) {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
