// Fills a store with what a busy shop might have: thousands of jobs, failures, names of any script.

/** A queue whose name is as long as some people make them. */
export const LONG =
  "quarterly-reconciliation-of-every-warehouse-in-every-region.with-a-name-nobody-shortened";

const KINDS = [
  ["send_email", "mail", (n) => ({ to: `customer${n}@example.com`, template: "order_shipped" })],
  ["resize_image", "pictures", (n) => ({ file: `s3://shop/p/${n}.jpg`, widths: [320, 640, 1280] })],
  ["charge_card", "payments", (n) => ({ order: 700000 + n, cents: 99 + 100 * n })],
  ["sync_stock", LONG, (n) => ({ region: `eu-${n % 9}`, full: n % 3 === 0 })],
];

const GROUPS = ["Müller & Söhne GmbH", "متجر الشرق الأوسط", "株式会社さくら", "🍕 Pizza Palace 🍕",
  "חנות הספרים הגדולה", "a-tenant-whose-name-goes-on-and-on-and-on-without-a-place-to-break-it"];
const TAGS = ["nightly", "priority:high", "🚀 launch", "عاجل", "import-2026-11"];

const FAILURES = [
  ["SmtpError", (n) => `550 5.1.1 mailbox unavailable: customer${n}@example.com\n` +
    "    at Mailer.deliver (/srv/shop/lib/mailer.rb:88)\n".repeat(3) +
    "    at SendEmail.perform (/srv/shop/jobs/send_email.rb:14)"],
  ["CardDeclined", (n) => `the bank answered "insufficient funds" for order ${n} 💳`],
  ["خطأ_في_الشبكة", (n) => `تعذر الاتصال بالخادم رقم ${n} بعد ثلاث محاولات`],
  ["TimeoutError", () => "no answer in 30 s from " + "https://stock.internal/api/v2/".repeat(4)],
];

function job(n) {
  const [type, queue, payload] = KINDS[n % KINDS.length];
  return {
    type, queue, payload: payload(n), max_attempts: n % 5 === 0 ? 1 : 3,
    ...(n % 3 === 0 && { group: GROUPS[n % GROUPS.length] }),
    ...(n % 4 === 0 && { tags: [TAGS[n % TAGS.length], TAGS[(n + 1) % TAGS.length]] }),
    ...(n % 6 === 0 && { correlation_id: `order-${Math.floor(n / 60)}` }),
  };
}

/** Enqueues `count` jobs and works most of them; some fail, some die, some stay. */
export async function seed(server, count = 4000) {
  const all = [...Array(count).keys()].map(job);
  const cancelled = await server.enqueue([...Array(12).keys()].map(job));
  await server.post("/v1/jobs/change", { verb: "cancel", ids: cancelled });
  await server.enqueue(all.slice(0, count - 600));
  const queues = Object.fromEntries(KINDS.map(([, queue]) => [queue, 250]));
  const types = KINDS.map(([type]) => type);
  const seeder = await server.worker("shop-worker-1.eu-central.example.com/4242", queues, types);
  let worked = 0;
  for (let jobs; (jobs = await seeder.claim({ max: 1000 })).length > 0;) {
    await seeder.finish(jobs.map((one) => end(one, worked++)));
  }
  await server.enqueue(all.slice(count - 600));
  const later = (n) => ({ ...job(n), delay_ms: 60000 * (n + 5) });
  await server.enqueue([...Array(80).keys()].map(later));
  await server.enqueue([...Array(30).keys()].map((n) => ({
    type: "build_report", queue: "reports", payload: { month: n % 12 + 1 },
  })));
  const idle = await server.worker("عامل-٧ 🛠️ on the machine under the desk", { pictures: 4 },
    ["resize_image"]);
  const active = await busy(server, seeder);
  return { seeder, idle, active };
}

function end(one, n) {
  if (n % 9 !== 0) {
    const result = { took: n % 50 };
    return { fence: one.fence, outcome: "completed", result, ran_ms: 20 + (n % 900) };
  }
  const [name, message] = FAILURES[one.type === "send_email" ? 0 : n % FAILURES.length];
  const error = { class: name, message: message(n) };
  return { fence: one.fence, outcome: "failed", error, ran_ms: 100 + (n % 3000) };
}

/** Enqueues and works a few jobs again and again, until the returned function is called. */
export function simmer(server, worker) {
  let going = true;
  const work = async () => {
    for (let n = 1; going; n += 1) {
      await server.enqueue([0, 1, 2].map((i) => ({ ...job(n * 4 + i), priority: 0 })));
      const jobs = await worker.claim({ queues: { pictures: 2, mail: 1, payments: 1 }, max: 4 });
      await worker.finish(jobs.map((one, i) => end(one, n * 3 + i)));
      await new Promise((resolve) => setTimeout(resolve, 250 + (n % 7) * 60));
    }
  };
  const done = work();
  return async () => {
    going = false;
    await done;
  };
}

/** Some jobs under way, with progress and log lines. */
async function busy(server, worker) {
  const jobs = await worker.claim({ queues: { payments: 6, mail: 6 }, max: 12 });
  for (const [n, one] of jobs.entries()) {
    const note = ["asking the bank", "🚚 waiting for the truck", "في الانتظار"][n % 3];
    await server.lease(one.fence, "progress", { percent: (n * 17) % 100, note });
    const lines = ["started", `order ${n} looked up`, "سطر من السجل", "🎉 half of it is done"];
    await server.lease(one.fence, "log", { lines });
  }
  return jobs;
}
