// Tests the dashboard in a browser against a real server: `node run.mjs [FOLDER for pictures]`.
//
// Environment: DUTIFUL_BIN (the binary), DUTIFUL_TEST_BROWSER (a node_modules folder with
// playwright-core and axe-core), CHROMIUM (the browser's path); DUTIFUL_TEST_BROWSER_JOBS for another
// number of jobs than the usual 4000: for pictures of a shop that is as busy as a real one.

import { access } from "./access.mjs";
import { check, close, launch } from "./check.mjs";
import * as flows from "./flows.mjs";
import { addresses, colours, looks, pictured } from "./pages.mjs";
import { seed, simmer } from "./seed.mjs";
import { Server } from "./server.mjs";
import { texts } from "./texts.mjs";
import { hostile } from "./xss.mjs";

for (const name of ["DUTIFUL_BIN", "DUTIFUL_TEST_BROWSER", "CHROMIUM"]) {
  if (!process.env[name]) throw new Error(`set ${name}; the head of run.mjs says what it is`);
}

/** Beats for the workers of the seed while the tests look at them. */
function beating(seeded) {
  const beat = () => {
    seeded.seeder.beat(seeded.active.map((one) => one.fence)).catch(() => {});
    seeded.idle.beat().catch(() => {});
  };
  return setInterval(beat, 5000);
}

await texts();
const server = await Server.fresh(process.env.DUTIFUL_BIN);
const browser = await launch();
let timer;
try {
  await flows.empty(browser, server);
  let seeded;
  await check("a busy shop is set up over the API", async () => {
    seeded = await seed(server, Number(process.env.DUTIFUL_TEST_BROWSER_JOBS || 4000));
  });
  timer = beating(seeded);
  const stop = simmer(server, seeded.seeder);
  const pages = await addresses(server, seeded.active[1].id);
  await Promise.all([
    looks(browser, server, pages, process.argv[2]),
    flows.watching(browser, server).then(() => colours(browser, server)),
  ]);
  await stop();
  const hands = [flows.filtering, flows.mending, flows.pausing, flows.keyboard,
    flows.alerting];
  await Promise.all(hands.map((flow) => flow(browser, server)));
  await hostile(browser, server);
  await access(browser, process.env.DUTIFUL_BIN, pictured(process.argv[2]));
  await flows.losing(browser, server);
} finally {
  clearInterval(timer);
  await browser.close();
  await server.remove();
}
process.exit(close() ? 0 : 1);
