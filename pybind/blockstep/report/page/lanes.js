// SPDX-License-Identifier: Apache-2.0
// Lanes: which rows, marks and spans stand in one line of the timeline, and their colours.
//
// A lane is {group, name, detail, rows, marks, spans}; a span {at, end, order, endOrder, text, hue},
// and a soft one lies behind its rows.

const LANES_OF_THREAD = 16;  // fibers that live at the same time, before they overlap

const HUES = new Map(Object.entries({
  read: 212, write: 28, "write zeroes": 48, discard: 325, flush: 275, truncate: 185,
  "drained section begins": 155, "drained section ends": 155,
  created: 200, running: 212, ready: 140, paused: 45, standby: 45, waiting: 275, pending: 275,
  aborting: 0, concluded: 170,
}));

function hueOf(text) {
  if (HUES.has(text)) return HUES.get(text);
  if (isFault(text)) return 0;
  let hash = 7;
  for (let i = 0; i < text.length; ++i) hash = (hash * 31 + text.charCodeAt(i)) >>> 0;
  return 20 + hash % 320;
}

function isFault(label) {
  return /fault|inject|power cut|torn|lost/i.test(label);
}

function buildLanes(run) {
  const { rows, kinds, marks } = run;
  const lanes = [], byKey = new Map();
  const lane = (group, name) => {
    const key = `${group}\n${name}`;
    if (!byKey.has(key)) {
      byKey.set(key, { group, name, rows: [], marks: [], spans: [] });
      lanes.push(byKey.get(key));
    }
    return byKey.get(key);
  };

  for (const name of ["critical step", "notes", "faults"]) {
    if (marks.some(mark => mark.lane === name)) lane("Scenario", name);
  }
  const groupOf = { command: "QMP", event: "QMP", graph: "QMP" };
  for (const mark of marks) {
    const where = lane(groupOf[mark.type] || "Scenario", mark.lane);
    if (mark.type === "command") {
      where.spans.push({ at: mark.at, order: mark.order, end: mark.end, endOrder: mark.endOrder,
        text: mark.title, hue: mark.failed ? 0 : hueOf(mark.title), item: mark.item });
    } else where.marks.push(mark);
  }
  const groups = [["Jobs", run.jobs], ["Devices", run.devices], ["Nodes", run.nodes]];
  const known = new Map();  // subject -> lane
  for (const [group, things] of groups) {
    for (const thing of things) {
      const where = lane(group, thing.name);
      if (!known.has(thing.name)) known.set(thing.name, where);
      where.quiet = group === "Nodes";  // its driver stands beside its name
      where.detail = group === "Jobs" ? "" : [...new Set(thing.spans.map(span => span[4]))].join(", ");
      for (const [at, position, end, endPosition, text] of thing.spans) {
        where.spans.push({ at, order: run.orderOf(position), end, text, soft: group !== "Jobs",
          endOrder: end === null ? null : run.orderOf(endPosition), hue: hueOf(text) });
      }
    }
  }

  const packed = packFibers(run, lane);
  for (let i = 0; i < rows.count; ++i) {
    const kind = kinds[rows.kind[i]];
    if (!kind.step && isFault(kind.label)) lane("Scenario", "faults").rows.push(i);
    if (!kind.step && kind.subject) {
      (known.get(kind.subject) || lane("Others", kind.subject)).rows.push(i);
    }
    packed(i).rows.push(i);
  }
  for (const one of lanes) one.spans.sort((a, b) => a.order - b.order || a.at - b.at);
  const order = ["Scenario", "QMP", "Jobs", "Devices", "Nodes", "Others", "Handlers",
    ...run.threads.map(thread => `Thread ${thread}`)];
  const rank = group => (order.includes(group) ? order.indexOf(group) : order.length);
  const index = new Map(lanes.map((one, i) => [one, i]));
  lanes.sort((a, b) => rank(a.group) - rank(b.group) || index.get(a) - index.get(b));
  return lanes;
}

// Fibers of a thread in as few lanes as hold them side by side. Gives row -> lane.
function packFibers(run, lane) {
  const { rows } = run, threads = new Map(), laneOf = new Map();
  for (const fiber of run.fibers.values()) {
    const group = fiber.thread ? `Thread ${fiber.thread}` : "Fibers";
    if (fiber.number === 0) {
      laneOf.set(0, lane("Handlers", "event handlers"));
      continue;
    }
    if (!threads.has(group)) threads.set(group, []);
    const ends = threads.get(group);
    let place = ends.findIndex(end => end < fiber.first);
    if (place < 0) place = ends.length < LANES_OF_THREAD ? ends.length : LANES_OF_THREAD;
    ends[place] = Math.max(ends[place] || 0, fiber.last);
    const where = lane(group, place === LANES_OF_THREAD ? "more fibers" : `fibers ${place + 1}`);
    laneOf.set(fiber.number, where);
    where.spans.push({
      at: rows.at[fiber.first], end: rows.at[fiber.last], order: fiber.first,
      endOrder: fiber.last + 1, soft: true, item: fiber.first,
      text: fiber.label ? `${fiber.label} #${fiber.number}` : `fiber ${fiber.number}`,
      hue: hueOf(fiber.label || `fiber ${fiber.number % 7}`) });
  }
  return row => laneOf.get(rows.fiber[row]);
}
