/** Signatures of webhooks: the published vector, and every single bit of it changed. */

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, it } from 'node:test';
import { verifyWebhook, WebhookRefused } from '../src/index.js';

// The vector of the Standard Webhooks specification's own libraries.
const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const BODY = '{"test": 2432232314}';
const NOW = { now_s: 1614265330 };
const HEADERS = {
  'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  'webhook-timestamp': '1614265330',
  'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
};
const OTHER = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD';

function refused(body, headers, secrets, options = NOW) {
  assert.throws(() => verifyWebhook(body, headers, secrets, options), WebhookRefused);
}

function* flips(text) {
  const bytes = Buffer.from(text);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const copy = Buffer.from(bytes);
    copy[bit >> 3] ^= 1 << (bit & 7);
    yield copy;
  }
}

describe('webhook', () => {
  it('accepts the published vector, as text or bytes, with headers of any kind', () => {
    assert.deepEqual(verifyWebhook(BODY, HEADERS, SECRET, NOW), { test: 2432232314 });
    const kinds = [new Headers(HEADERS), { 'Webhook-Id': HEADERS['webhook-id'], ...HEADERS }];
    const bytes = new TextEncoder().encode(BODY);
    for (const headers of kinds) verifyWebhook(bytes, headers, SECRET, NOW);
    const upper = Object.entries(HEADERS).map(([name, value]) => [name.toUpperCase(), value]);
    verifyWebhook(BODY, Object.fromEntries(upper), SECRET, NOW);
  });

  it('refuses every single flipped bit of body, id, timestamp and signature', () => {
    let count = 0;
    for (const body of flips(BODY)) count += 1, refused(body, HEADERS, SECRET);
    for (const name of Object.keys(HEADERS)) {
      for (const value of flips(HEADERS[name])) {
        count += 1;
        const headers = { ...HEADERS, [name]: value.toString('latin1') };
        // A timestamp that is another number must fail by its signature, not by its age.
        refused(BODY, headers, SECRET, { ...NOW, tolerance_s: 1e12 });
      }
    }
    assert.ok(count > 700);
  });

  it('accepts one of several signatures by one of several secrets', () => {
    const key = Buffer.from(OTHER.slice(6), 'base64');
    const signed = `${HEADERS['webhook-id']}.${HEADERS['webhook-timestamp']}.${BODY}`;
    const other = `v1,${createHmac('sha256', key).update(signed).digest('base64')}`;
    const several = { ...HEADERS, 'webhook-signature': `v1a,AAAA ${other} v1,AAAA` };
    refused(BODY, several, SECRET);
    assert.ok(verifyWebhook(BODY, several, [SECRET, OTHER], NOW));
    assert.ok(verifyWebhook(BODY, HEADERS, [OTHER, SECRET], NOW));
    refused(BODY, HEADERS, [OTHER]);
    refused(BODY, HEADERS, []);
  });

  it('refuses what is too old or too new, and what is missing', () => {
    for (const away of [-301, 301]) refused(BODY, HEADERS, SECRET, { now_s: NOW.now_s + away });
    for (const near of [-299, 299]) {
      verifyWebhook(BODY, HEADERS, SECRET, { now_s: NOW.now_s + near });
    }
    for (const name of Object.keys(HEADERS)) refused(BODY, { ...HEADERS, [name]: '' }, SECRET);
    assert.throws(() => verifyWebhook(BODY, HEADERS, 'whsec_', NOW), TypeError);
  });
});
