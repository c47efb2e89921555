// SPDX-License-Identifier: Apache-2.0
// The page: fills itself, answers keys, and keeps its state in the address, so that a link leads to
// the same view: #find=WORDS&n=NUMBER&view=FROM-TO&axis=time|order&change=NUMBER&theme=dark|light.

let run, timeline, graphView, found = [], foundAt = -1;

function hashState() {
  return new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
}

function setHash(name, value) {
  const state = hashState();
  if (value === null || value === "") state.delete(name);
  else state.set(name, value);
  history.replaceState(null, "", `#${state}`);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  if (timeline) timeline.draw();
}

function fillHead() {
  const { run: about } = run;
  byId("outcome").textContent = about.outcome;
  byId("outcome").classList.add(about.outcome === "passed" ? "passed" : "failed");
  byId("scenario").textContent = about.scenario;
  const facts = { seed: about.seed, digest: about.digest, schedule: about.schedule,
    simulated: timeText(about.simulated_ns), wall: `${about.wall_s.toFixed(3)} s`,
    events: about.events.toLocaleString("en"), again: about.again };
  for (const [name, value] of Object.entries(facts)) {
    if (value === "") continue;
    byId("facts").append(make("div", {}, make("dt", {}, name), make("dd", {}, String(value))));
  }
  byId("error").hidden = !about.error;
  byId("error").textContent = about.error || "";
}

function fillLegend(lanes) {
  const counts = new Map();
  for (const row of run.eventRows) {
    const { label } = run.kinds[run.rows.kind[row]];
    counts.set(label, (counts.get(label) || 0) + 1);
  }
  const most = [...counts].sort((one, other) => other[1] - one[1]).slice(0, 16);
  for (const [label, count] of most) {
    const swatch = make("i");
    swatch.style.background = `hsl(${hueOf(label)} 65% 52%)`;
    byId("legend").append(make("span", {}, swatch, `${label} ${count.toLocaleString("en")}`));
  }
  byId("timeline").dataset.lanes = lanes.length;
}

function fillDetails(item) {
  const place = byId("details");
  place.replaceChildren();
  if (item < 0) {
    place.append(make("p", { class: "hint" }, "Nothing selected."));
    return;
  }
  const facts = {};
  let title;
  if (item < run.rows.count) {
    const { rows } = run, kind = run.kinds[rows.kind[item]], fiber = run.fibers.get(rows.fiber[item]);
    title = kind.step ? `${kind.label} runs` : kind.label;
    facts.time = `${timeText(rows.at[item])} (${rows.at[item]} ns)`;
    facts.order = `#${item}`;
    if (kind.subject) facts.subject = kind.subject;
    facts.fiber = fiber.number ? `${fiber.number} ${fiber.label}` : "an event handler";
    if (kind.thread || fiber.thread) facts.thread = kind.thread || fiber.thread;
    if (!kind.step) {
      facts.a = number64(rows.aHigh[item], rows.aLow[item]);
      facts.b = number64(rows.bHigh[item], rows.bLow[item]);
    }
  } else {
    const mark = run.marks[item - run.rows.count];
    title = mark.title;
    facts.kind = mark.type;
    facts.time = `${timeText(mark.at)} (${mark.at} ns)`;
    if (mark.end !== undefined) {
      facts.took = mark.end === null ? "no answer" : timeText(mark.end - mark.at);
    }
    if (mark.refused) facts.refused = mark.refused;
    if (mark.text) facts.data = mark.text;
  }
  place.append(make("h3", {}, title), make("dl", {}, ...Object.entries(facts).flatMap(
    ([name, value]) => [make("dt", {}, name), make("dd", {}, value)])));
}

function search(text, at = 0) {
  found = findItems(run, text);
  timeline.matches = new Set(found);
  foundAt = -1;
  setHash("find", text);
  byId("matches").textContent = !text.trim() ? "" : found.length ? "" : "nothing found";
  if (found.length) goToMatch(at);
  else timeline.draw();
}

function goToMatch(at) {
  if (!found.length) return;
  foundAt = (at + found.length) % found.length;
  byId("matches").textContent = `${foundAt + 1} of ${found.length.toLocaleString("en")}`;
  setHash("n", foundAt + 1);
  timeline.reveal(found[foundAt]);
  timeline.select(found[foundAt]);
}

function goTo(row) {
  if (row.change !== undefined) graphView.show(row.change);
  timeline.reveal(row.item);
  timeline.select(row.item);
  byId("timeline-part").scrollIntoView();
}

function setAxis(axis) {
  byId("axis").value = axis;
  timeline.setAxis(axis);
  timeline.draw();
}

const KEYS = {
  "+": () => timeline.zoom(0.6), "=": () => timeline.zoom(0.6), "-": () => timeline.zoom(1 / 0.6),
  0: () => timeline.show(0, timeline.whole),
  Home: () => timeline.show(0, timeline.view.to - timeline.view.from),
  End: () => timeline.show(
    timeline.whole - (timeline.view.to - timeline.view.from), timeline.whole),
  ArrowLeft: () => timeline.pan(-0.15), ArrowRight: () => timeline.pan(0.15),
  ArrowUp: () => timeline.setCurrent(Math.max(timeline.current - 1, 0)),
  ArrowDown: () => timeline.setCurrent(Math.min(timeline.current + 1, timeline.lanes.length - 1)),
  ",": () => timeline.step(-1), ".": () => timeline.step(1),
};

const KEYS_EVERYWHERE = {
  "/": () => byId("find").focus(), n: () => goToMatch(foundAt + 1), N: () => goToMatch(foundAt - 1),
  o: () => setAxis(timeline.axis === "time" ? "order" : "time"),
  "[": () => graphView.show(graphView.number - 1), "]": () => graphView.show(graphView.number + 1),
};

function listen() {
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = ["INPUT", "SELECT"].includes(event.target.tagName);
    if (typing && event.key === "Escape") byId("timeline").focus();
    const inside = byId("timeline").contains(event.target) || event.target === document.body;
    const action = typing ? null
      : (inside && Object.hasOwn(KEYS, event.key) && KEYS[event.key]) ||
        (Object.hasOwn(KEYS_EVERYWHERE, event.key) && KEYS_EVERYWHERE[event.key]);
    if (!action) return;
    event.preventDefault();
    action();
  });
  let waiting;
  byId("find").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => search(byId("find").value), 150);
  });
  byId("tools").addEventListener("submit", event => {
    event.preventDefault();
    if (hashState().get("find") !== byId("find").value) search(byId("find").value);
    else goToMatch(foundAt + 1);
  });
  byId("previous").addEventListener("click", () => goToMatch(foundAt - 1));
  byId("zoom-in").addEventListener("click", KEYS["+"]);
  byId("zoom-out").addEventListener("click", KEYS["-"]);
  byId("fit").addEventListener("click", KEYS[0]);
  byId("axis").addEventListener("change", () => {
    setAxis(byId("axis").value);
    setHash("axis", timeline.axis);
    setHash("view", null);
  });
  byId("theme").addEventListener("click", () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    setTheme(theme);
    setHash("theme", theme);
  });
  byId("timeline").addEventListener("view", () => {
    const { from, to } = timeline.view;
    setHash("view", from === 0 && to === timeline.whole ? null
      : `${Math.floor(from)}-${Math.ceil(to)}`);
  });
  window.addEventListener("hashchange", () => { if (location.hash.includes("=")) applyHash(); });
}

function applyHash() {
  const state = hashState();
  if (state.get("theme")) setTheme(state.get("theme"));
  if (state.get("axis")) setAxis(state.get("axis"));
  if (state.get("view")) timeline.show(...state.get("view").split("-").map(Number));
  if (state.get("change")) graphView.show(Number(state.get("change")) - 1);
  if (state.get("find")) {
    byId("find").value = state.get("find");
    search(state.get("find"), Number(state.get("n") || 1) - 1);
  }
}

// Where most of a run happens at few instants, order tells more than time.
function bestAxis() {
  let instants = 0;
  for (let i = 1; i < run.rows.count; ++i) instants += run.rows.at[i] !== run.rows.at[i - 1];
  return run.rows.count && instants * 20 < run.rows.count ? "order" : "time";
}

async function start() {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  setTheme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
  run = await loadRun(hashState().get("inflate") === "by-hand");
  fillHead();
  const lanes = buildLanes(run);
  timeline = new Timeline(run, lanes, fillDetails);
  graphView = new GraphView(run, number => goTo(run.marks.find(mark => mark.change === number)));
  fillTables(run, goTo);
  fillLegend(lanes);
  setAxis(bestAxis());
  listen();
  applyHash();
  timeline.drawNow();
  byId("main").setAttribute("aria-busy", "false");
}

start().catch(error => {
  byId("error").hidden = false;
  byId("error").textContent = `This report cannot be shown: ${error.stack || error}`;
  byId("main").setAttribute("aria-busy", "false");
});
