// Each page with realistic data: what axe finds in light and dark, that nothing is wider than the
// screen, and a picture of it.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { axe, check, expect, open, settled, visit } from "./check.mjs";
import { LONG } from "./seed.mjs";

const DESKTOP = { width: 1280, height: 860 };
const PHONE = { width: 360, height: 740 };

export const PHONE_DARK = {
  viewport: PHONE, colorScheme: "dark", hasTouch: true, isMobile: true, deviceScaleFactor: 2,
};
/** How the pages are looked at: on two very different screens. */
const VIEWS = [
  ["light", "desktop", { viewport: DESKTOP, colorScheme: "light" }], ["dark", "phone", PHONE_DARK],
];

/** Pages that are seen in another state as well: these in one view only. */
const ONCE = ["jobs-dead", "job-completed"];

/** Every page by name, with the address to see it at. */
export async function addresses(server, active) {
  const newest = async (query) => (await server.get(`/v1/jobs?limit=1&${query}`)).jobs[0].id;
  return {
    overview: "/",
    queues: "/queues",
    queue: `/queues/${LONG}`,
    jobs: "/jobs",
    "jobs-dead": "/jobs?state=dead&type=send_email",
    "job-dead": `/jobs/${await newest("state=dead&queue=mail")}`,
    "job-active": `/jobs/${active}`,
    "job-completed": `/jobs/${await newest("state=completed")}`,
    dead: "/dead",
    workers: "/workers",
    audit: "/audit",
    alerts: "/alerts",
    settings: "/settings",
    docs: "/docs",
  };
}

/** By how much a page is wider than the screen: a phone would show it smaller, so that it fits. */
async function wide(page) {
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  return width - page.viewportSize().width;
}

/** Fails when axe finds something, or the page does not fit the screen. */
export async function fits(page) {
  const found = await axe(page);
  expect(found.length === 0, found.join("\n"));
  const more = await wide(page);
  expect(more <= 0, `it is ${more} px wider than the screen`);
}

/** Makes pictures of pages of which no address tells the state, when there is a folder for them. */
export const pictured = (folder) => async (page, name) => {
  if (folder) await page.screenshot({ path: join(folder, `${name}.png`) });
};

export async function looks(browser, server, pages, folder) {
  if (folder) await mkdir(folder, { recursive: true });
  await Promise.all(VIEWS.map(async ([colours, device, options]) => {
    const { page, context, trouble } = await open(browser, server.base, options);
    const picture = (of, name) => folder && of.screenshot({
      path: join(folder, `${name}-${colours}-${device}.png`),
    });
    // An overview that was open for a while has more to tell.
    const watched = await context.newPage();
    await visit(watched, "/");
    for (const [name, path] of Object.entries(pages)) {
      if (colours === "dark" && ONCE.includes(name)) continue;
      await check(`axe finds nothing serious on ${name}, ${colours}, ${device}`, async () => {
        await visit(page, path);
        await fits(page);
        if (name !== "overview") await picture(page, name);
      });
      await settled(page);
    }
    await check(`numbers come together on the overview, ${colours}`, async () => {
      await watched.locator(".spark-line").first().waitFor({ state: "attached" });
      await picture(watched, "overview");
    });
    await check(`nothing goes wrong on any page, ${colours}`, async () => {
      expect(trouble.length === 0, trouble.join("\n"));
    });
    await context.close();
  }));
}

/** The colours can be chosen against the system's, and stay chosen. */
export async function colours(browser, server) {
  const { page, context } = await open(browser, server.base, { colorScheme: "dark" });
  const back = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await check("the colours follow the system until somebody chooses", async () => {
    await visit(page, "/settings");
    const dark = await back();
    await page.getByRole("button", { name: /^Colours/ }).click();
    const light = await back();
    expect(dark !== light, `both are ${dark}`);
    await page.reload();
    await settled(page);
    expect((await back()) === light, "the choice was forgotten");
    expect((await axe(page)).length === 0, "axe finds something after the change");
  });
  await context.close();
}
