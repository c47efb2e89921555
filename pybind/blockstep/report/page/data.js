// SPDX-License-Identifier: Apache-2.0
// The run: rows (trace events and steps, in columns) and marks (commands, events, notes, faults,
// changes of the graph). The layout of the data is told in pack.py.
//
// An item is a row or a mark by number: rows first, then marks.

function readColumns(bytes, at, count) {
  const next = () => {
    let value = 0, scale = 1, byte;
    do {
      byte = bytes[at++];
      value += (byte & 127) * scale;
      scale *= 128;
    } while (byte > 127);
    return value;
  };
  const back = value => (value % 2 ? -(value + 1) / 2 : value / 2);  // zigzag
  const rows = {
    count, at: new Float64Array(count), kind: new Uint32Array(count),
    fiber: new Float64Array(count), aLow: new Uint32Array(count), aHigh: new Uint32Array(count),
    bLow: new Uint32Array(count), bHigh: new Uint32Array(count),
  };
  for (let i = 0, sum = 0; i < count; ++i) rows.at[i] = sum += next();
  for (let i = 0; i < count; ++i) rows.kind[i] = next();
  for (let i = 0, sum = 0; i < count; ++i) rows.fiber[i] = sum += back(next());
  for (const [low, high] of [[rows.aLow, rows.aHigh], [rows.bLow, rows.bHigh]]) {
    const last = [];
    for (let i = 0; i < count; ++i) {
      const kind = rows.kind[i];
      low[i] = last[kind] = ((last[kind] || 0) + back(next())) >>> 0;
    }
    for (let i = 0; i < count; ++i) high[i] = next();
  }
  return rows;
}

async function loadRun(byHand) {
  const text = document.getElementById("data").textContent.trim();
  const bytes = await inflate(bytesOfBase64(text), byHand);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const run = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const names = run.names;
  run.rows = readColumns(bytes, 4 + length, run.rows);
  run.kinds = run.kinds.map(([label, subject, thread]) => ({
    label: names[label], subject: subject === null ? "" : names[subject],
    thread: thread === null ? null : run.threads[thread], step: thread !== null,
  }));
  const rows = run.rows;
  run.eventRows = [];
  run.fibers = new Map();  // number -> {label, thread, first, last}
  for (let i = 0; i < rows.count; ++i) {
    const kind = run.kinds[rows.kind[i]], number = rows.fiber[i];
    if (!kind.step) run.eventRows.push(i);
    let fiber = run.fibers.get(number);
    if (!fiber) run.fibers.set(number, fiber = { number, label: "", thread: "", first: i });
    if (kind.step) [fiber.label, fiber.thread] = [kind.label, kind.thread];
    fiber.last = i;
  }
  run.orderOf = position => (position < run.eventRows.length
    ? run.eventRows[position] : rows.count);
  collectMarks(run);
  run.end = Math.max(run.run.simulated_ns, rows.count ? rows.at[rows.count - 1] : 0,
    ...run.marks.slice(-1).map(mark => mark.at), 1);
  return run;
}

function collectMarks(run) {
  const marks = run.marks = [];
  const add = (type, source, title, text, more) => marks.push({
    type, at: source.at, order: run.orderOf(source.position), title, text, ...more });
  const several = new Set([...run.commands, ...run.events].map(one => one.vm)).size > 1;
  const lane = (vm, what) => (several ? `${what} of machine ${vm}` : what);
  for (const one of run.commands) {
    add("command", one, one.name, `${one.arguments} \u2192 ${one.reply}`, {
      lane: lane(one.vm, "commands"), failed: one.failed, refused: one.refused, source: one,
      end: one.end, endOrder: one.end === null ? null : run.orderOf(one.end_position) });
  }
  for (const one of run.events) {
    add("event", one, one.name, one.data, { lane: lane(one.vm, "events"), source: one });
  }
  for (const one of run.notes) add("note", one, one.text, "", { lane: "notes" });
  for (const one of run.faults) add("fault", one, one.text, "", { lane: "faults" });
  for (const one of run.critical) add("critical", one, one.text, "", { lane: "critical step" });
  run.graph.changes.forEach((one, number) => add(
    "graph", one, one.refused ? `refused: ${one.cause}` : one.cause || "graph changed",
    one.lines.join("; "),
    { lane: "graph", failed: one.refused, change: number }));
  marks.sort((one, other) => one.order - other.order || one.at - other.at);
  marks.forEach((mark, i) => { mark.item = run.rows.count + i; });
}

// a 64-bit number as text
function number64(high, low) {
  return high < 0x200000 ? String(high * 4294967296 + low)
    : String((BigInt(high) << 32n) + BigInt(low));
}

function itemAt(run, item) {
  return item < run.rows.count ? run.rows.at[item] : run.marks[item - run.rows.count].at;
}

function itemOrder(run, item) {
  return item < run.rows.count ? item + 0.5 : run.marks[item - run.rows.count].order;
}

// Simulated time for people: the unit that suits, digits down to a nanosecond.
function timeText(ns) {
  const [scale, unit] = ns >= 1e9 ? [1e9, "s"] : ns >= 1e6 ? [1e6, "ms"]
    : ns >= 1e3 ? [1e3, "\u00b5s"] : [1, "ns"];
  const whole = Math.floor(ns / scale);
  const rest = Math.round(ns - whole * scale);
  const digits = String(rest).padStart(Math.log10(scale), "0").replace(/0+$/, "");
  return `${whole}${digits && scale > 1 ? "." + digits : ""} ${unit}`;
}
