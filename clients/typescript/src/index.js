/** What the package offers; the types stand in index.d.ts. */

export { Client } from './client.js';
export { Worker } from './worker.js';
export { verifyWebhook, WebhookRefused } from './webhook.js';
export * from './errors.js';
