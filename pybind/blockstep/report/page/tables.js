// SPDX-License-Identifier: Apache-2.0
// Tables: permission outcomes, faults, QMP, notes. Each row leads to its place in the timeline.

const TABLE_ROWS = 500;  // shown at once

function byId(id) { return document.getElementById(id); }

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// rows: [{at, item, kind, cells}]
function fillTable(id, heads, rows, empty, onGo) {
  const place = byId(id);
  if (!rows.length) {
    place.append(make("p", { class: "hint" }, empty));
    return;
  }
  const body = make("tbody");
  let shown = 0;
  const more = make("button", {}, "");
  const extend = () => {
    for (const row of rows.slice(shown, shown + TABLE_ROWS)) {
      const go = make("button", { "aria-label": `Show at ${timeText(row.at)}` }, timeText(row.at));
      go.addEventListener("click", () => onGo(row));
      body.append(make("tr", { class: row.kind || "" }, make("td", { class: "when" }, go),
        ...row.cells.map((cell, i) => make("td", { class: i === 0 ? "what" : "data" }, cell))));
    }
    shown += TABLE_ROWS;
    more.textContent = `Show more (${rows.length - shown} left)`;
    more.hidden = shown >= rows.length;
  };
  extend();
  more.addEventListener("click", extend);
  place.append(make("div", { class: "table", tabindex: "0", role: "group", "aria-label": id },
    make("table", {}, make("thead", {}, make("tr", {},
      ...["When", ...heads].map(head => make("th", { scope: "col" }, head)))), body)), more);
}

function fillTables(run, onGo) {
  const count = (id, number, alarm) => {
    byId(`count-${id}`).textContent = number;
    byId(`count-${id}`).classList.toggle("alarm", Boolean(alarm));
  };
  const marks = type => run.marks.filter(mark => type.includes(mark.type));
  const outcomes = marks(["graph"]).map(mark => {
    const change = run.graph.changes[mark.change];
    return { at: mark.at, item: mark.item, change: mark.change,
      kind: change.refused ? "refused" : "allowed",
      cells: [change.refused ? "refused" : "allowed", change.cause,
        [...(change.text ? [change.text] : []), ...change.lines].join("\n")] };
  });
  const refused = outcomes.filter(row => row.kind === "refused").length;
  fillTable("permissions", ["Outcome", "Asked by", "What was given and taken, or the reason"],
    outcomes, "Nobody asked for permissions.", onGo);
  count("permissions", refused ? `${outcomes.length}, ${refused} refused` : outcomes.length, refused);

  const faults = marks(["fault", "critical"]).map(mark => ({ at: mark.at, item: mark.item,
    kind: "failed", cells: [mark.type, mark.title] }));
  for (const row of run.eventRows) {
    const kind = run.kinds[run.rows.kind[row]];
    if (isFault(kind.label)) {
      faults.push({ at: run.rows.at[row], item: row, kind: "failed",
        cells: [kind.label, kind.subject] });
    }
  }
  faults.sort((one, other) => itemOrder(run, one.item) - itemOrder(run, other.item));
  fillTable("faults", ["Fault", "Where"], faults, "No fault was injected.", onGo);
  count("faults", faults.length, faults.length);

  const qmp = marks(["command", "event"]).map(mark => ({ at: mark.at, item: mark.item,
    kind: mark.refused ? "refused" : mark.failed ? "failed" : "",
    cells: [mark.title, mark.type === "event" ? `event ${mark.text}` : mark.text] }));
  fillTable("qmp", ["Command or event", "Data"], qmp, "No command was given.", onGo);
  count("qmp", qmp.length);

  const notes = marks(["note"]).map(mark => ({ at: mark.at, item: mark.item,
    cells: [mark.title] }));
  fillTable("notes", ["Note"], notes, "The scenario made no notes.", onGo);
  count("notes", notes.length);
  count("graph", run.graph.changes.length);
}
