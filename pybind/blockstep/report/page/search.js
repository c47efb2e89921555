// SPDX-License-Identifier: Apache-2.0
// Search: every word must be found, in any order, in any letter case. fiber:N, a:N and b:N ask for
// numbers, in:TEXT for the lane's subject.

function parseQuery(text) {
  return text.toLowerCase().split(/\s+/).filter(word => word).map(word => {
    const match = /^(fiber|a|b|in):(.+)$/.exec(word);
    return match ? { field: match[1], value: match[2] } : { field: "text", value: word };
  });
}

// The items that match, in the order of the timeline.
function findItems(run, text) {
  const words = parseQuery(text);
  if (!words.length) return [];
  const { rows, kinds, marks } = run, found = [];
  const texts = words.filter(word => word.field === "text").map(word => word.value);
  const places = words.filter(word => word.field === "in").map(word => word.value);
  const numbers = words.filter(word => ["fiber", "a", "b"].includes(word.field));
  const kindTexts = kinds.map(kind =>
    `${kind.label} ${kind.subject} ${kind.thread || ""}`.toLowerCase());
  const kindPlaces = kinds.map(kind => kind.subject.toLowerCase());
  // For each kind the words it leaves open, which the fiber's name may still hold.
  const open = kinds.map((kind, i) => {
    if (!places.every(place => kindPlaces[i].includes(place))) return null;
    return texts.filter(word => !kindTexts[i].includes(word));
  });
  const fiberTexts = new Map();
  for (const fiber of run.fibers.values()) {
    fiberTexts.set(fiber.number, `${fiber.label} #${fiber.number}`.toLowerCase());
  }
  const value = { fiber: i => String(rows.fiber[i]),
    a: i => number64(rows.aHigh[i], rows.aLow[i]), b: i => number64(rows.bHigh[i], rows.bLow[i]) };
  let mark = 0;
  const takeMarks = order => {
    for (; mark < marks.length && marks[mark].order <= order; ++mark) {
      const one = marks[mark];
      const whole = `${one.title} ${one.text} ${one.type}`.toLowerCase();
      if (!numbers.length && texts.every(word => whole.includes(word)) &&
          places.every(place => one.lane.includes(place))) found.push(one.item);
    }
  };
  for (let i = 0; i < rows.count; ++i) {
    takeMarks(i);
    const left = open[rows.kind[i]];
    if (left === null) continue;
    if (left.length && !left.every(word => fiberTexts.get(rows.fiber[i]).includes(word))) continue;
    if (numbers.every(word => value[word.field](i) === word.value)) found.push(i);
  }
  takeMarks(Infinity);
  return found;
}
