// What /v1/history answers, as lines to draw and as sums to tell; knows nothing of the page.

/** The times that the charts can show, by their name in the address. */
export const SPANS = [
  ["", "10 minutes"], ["hour", "Hour"], ["day", "Day"], ["month", "Month"], ["year", "Year"],
];

const HOUR_MS = 3600000;

/** How long they are, but for the one that this page sees by itself. */
export const LENGTH_MS = {
  hour: HOUR_MS, day: 24 * HOUR_MS, month: 30 * 24 * HOUR_MS, year: 365 * 24 * HOUR_MS,
};

/** The points of a chart: `value` of each step, and a break where no server saw the step. */
export function line({ points, step_s: step }, value) {
  const drawn = [];
  let next = null;
  for (const one of points) {
    const t = Date.parse(one.at);
    if (next !== null && t > next) drawn.push({ t: next, v: null });
    drawn.push({ t, v: value(one) ?? null });
    next = t + step * 1000;
  }
  return drawn;
}

/** What a counter came to over all steps. */
export const sum = ({ points }, name) => points.reduce((all, one) => all + one[name], 0);

/** The highest value of a number; null where it is not known at all. */
export function highest({ points }, name) {
  return points.reduce((most, { [name]: value }) => {
    if (value === null || value === undefined) return most;
    return most === null || value > most ? value : most;
  }, null);
}
