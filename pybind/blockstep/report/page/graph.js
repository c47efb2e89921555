// SPDX-License-Identifier: Apache-2.0
// Drawings of the block graph: Graphviz's layout where the report brought one, otherwise layers.
//
// A picture is {boxes: [[lines, is_node, more]], arrows: [[from, to, name, permissions, marks]],
// layout?}; units are points.

const BOX_HIGH = 37.4, BOXES_MAX = 1500;

const boxWide = lines => Math.max(...lines.map(line => line.length)) * 6.34 + 20;
const boxKey = ([lines, isNode]) => `${isNode} ${lines[0]}`;

function arrowKey(picture, [from, to, name]) {
  return `${boxKey(picture.boxes[from])}\n${name}\n${boxKey(picture.boxes[to])}`;
}

// Longest paths give the layer, the middle of one's users the order in it.
function layered(picture) {
  const { boxes, arrows } = picture;
  const layer = new Array(boxes.length).fill(0), users = boxes.map(() => []);
  for (const [from, to] of arrows) users[to].push(from);
  const below = boxes.map(() => []), open = users.map(list => list.length);
  for (const [from, to] of arrows) below[from].push(to);
  const ready = boxes.map((_box, i) => i).filter(i => open[i] === 0);
  while (ready.length) {
    const i = ready.shift();
    for (const child of below[i]) {
      layer[child] = Math.max(layer[child], layer[i] + 1);
      if (--open[child] === 0) ready.push(child);
    }
  }
  // A user stands just above what it uses.
  boxes.forEach((_box, i) => {
    if (!users[i].length && below[i].length) {
      layer[i] = Math.max(0, Math.min(...below[i].map(child => layer[child])) - 1);
    }
  });
  const layers = [];
  boxes.forEach((_box, i) => (layers[layer[i]] = layers[layer[i]] || []).push(i));
  const centre = new Array(boxes.length).fill(0);
  let wide = 0;
  for (let level = 0; level < layers.length; ++level) {
    const list = layers[level] || (layers[level] = []);
    const wish = i => (users[i].length
      ? users[i].reduce((sum, user) => sum + centre[user], 0) / users[i].length : 0);
    list.sort((one, other) => wish(one) - wish(other) || one - other);
    let right = 0;
    for (const i of list) {
      const half = boxWide(boxes[i][0]) / 2;
      const labels = Math.max(0, ...arrows.filter(([, to]) => to === i)
        .map(([, , name, text]) => (name.length + text.length + 2) * 5.4 - half));
      centre[i] = Math.max(right + half, wish(i));
      right = centre[i] + half + 24 + labels;
    }
    wide = Math.max(wide, right);
  }
  const y = i => layer[i] * 96 + BOX_HIGH / 2 + 2;
  return {
    width: Math.round(wide), height: layers.length * 96 - 96 + BOX_HIGH + 4,
    boxes: boxes.map((_box, i) => [centre[i], y(i)]),
    arrows: spread(arrows).map(([from, to, offset]) => {
      const x1 = centre[from] + offset, x2 = centre[to] + offset;
      const y1 = y(from) + BOX_HIGH / 2, y2 = y(to) - BOX_HIGH / 2 - 9;
      const middle = (y1 + y2) / 2;
      return [[[x1, y1], [x1, middle], [x2, middle], [x2, y2]], [(x1 + x2) / 2 + 4, middle]];
    }),
  };
}

// Arrows between the same two boxes side by side.
function spread(arrows) {
  const seen = new Map();
  return arrows.map(([from, to]) => {
    const key = `${from} ${to}`, count = seen.get(key) || 0;
    seen.set(key, count + 1);
    return [from, to, count * 26 * (count % 2 ? 1 : -1)];
  });
}

// Draws it into an element. `other`: the picture before or after, whose differences are marked as
// `kind`, added or removed.
function drawPicture(element, picture, other, kind) {
  element.replaceChildren();
  if (!picture.boxes.length) {
    element.append(make("p", { class: "hint" }, "An empty graph."));
    return;
  }
  if (picture.boxes.length > BOXES_MAX) {
    element.append(make("p", { class: "hint" },
      `${picture.boxes.length} nodes and users: too many to draw.`));
    return;
  }
  const layout = picture.layout || layered(picture);
  const otherBoxes = other && new Set(other.boxes.map(boxKey));
  const otherArrows = other && new Map(other.arrows.map(
    arrow => [arrowKey(other, arrow), arrow[3]]));
  const root = makeSvg("svg", { width: layout.width + 8, height: layout.height + 8, role: "img",
    viewBox: `-4 -4 ${layout.width + 8} ${layout.height + 8}`,
    "aria-label": `Block graph of ${picture.boxes.length} boxes and ${picture.arrows.length} edges`
  });
  root.style.minWidth = `${Math.round(layout.width * 0.6)}px`;  // smaller cannot be read
  picture.arrows.forEach((arrow, i) => {
    const [from, to, name, text, marks] = arrow, [points, middle] = layout.arrows[i];
    let change = "";
    if (other) {
      const key = arrowKey(picture, arrow);
      change = !otherArrows.has(key) ? kind : otherArrows.get(key) !== text ? "changed" : "";
    }
    const group = makeSvg("g", { class: `${change} ${marks.join(" ")}` },
      makeSvg("title", {}, `${picture.boxes[from][0][0]} \u2192 ${picture.boxes[to][0][0]}, ` +
        `edge '${name}': ${text}`),
      makeSvg("path", { class: "arrow", d: curve(points) }), arrowHead(points));
    const label = `${name}: ${text}`, wide = label.length * 5.4;
    group.append(makeSvg("rect", { class: "plate", x: middle[0] - wide / 2, y: middle[1] - 7,
      width: wide, height: 13 }),
      makeSvg("text", { x: middle[0], y: middle[1] + 3, "text-anchor": "middle",
        "font-size": 9 }, label));
    root.append(group);
  });
  picture.boxes.forEach(([lines, isNode, more], i) => {
    const [x, y] = layout.boxes[i], wide = boxWide(lines);
    const change = other && !otherBoxes.has(boxKey(picture.boxes[i])) ? kind : "";
    const group = makeSvg("g", { class: `${isNode ? "node" : "user"} ${change}` },
      makeSvg("title", {}, [...lines, ...more].join("\n")),
      makeSvg("rect", { class: "box", x: x - wide / 2, y: y - BOX_HIGH / 2, width: wide,
        height: BOX_HIGH, rx: isNode ? 4 : BOX_HIGH / 2 }));
    lines.forEach((line, number) => group.append(makeSvg("text", {
      x, y: y + 4 + (number - (lines.length - 1) / 2) * 13, "text-anchor": "middle",
      "font-size": 10.5, class: number ? "soft" : "" }, line)));
    root.append(group);
  });
  element.append(root);
}

function curve(points) {
  const [first, ...rest] = points.map(point => point.join(" "));
  return `M${first} C${rest.join(" ")}`;
}

function arrowHead(points) {
  const [x, y] = points[points.length - 1];
  let [px, py] = points[points.length - 2];
  if (px === x && py === y) py -= 1;
  const length = Math.hypot(x - px, y - py), dx = (x - px) / length, dy = (y - py) / length;
  const tip = [x + dx * 9, y + dy * 9];
  return makeSvg("polygon", { class: "head", points:
    `${tip} ${[x - dy * 3.6, y + dx * 3.6]} ${[x + dy * 3.6, y - dx * 3.6]}` });
}

// The changes, one shown at a time.
class GraphView {
  constructor(run, onShow) {
    Object.assign(this, { graph: run.graph, onShow, number: 0 });
    const count = this.graph.changes.length;
    byId("graph-empty").hidden = count > 0;
    byId("graph-body").hidden = count === 0;
    if (!count) return;
    this.slider = byId("change");
    this.slider.max = count - 1;
    this.slider.addEventListener("input", () => this.show(Number(this.slider.value)));
    byId("change-previous").addEventListener("click", () => this.show(this.number - 1));
    byId("change-next").addEventListener("click", () => this.show(this.number + 1));
    byId("change-show").addEventListener("click", () => onShow(this.number));
    this.show(count - 1);
  }

  show(number) {
    const { changes, pictures, left_out: leftOut } = this.graph;
    if (!changes.length) return;
    this.number = Math.min(Math.max(number, 0), changes.length - 1);
    const change = changes[this.number];
    this.slider.value = this.number;
    byId("change-previous").disabled = this.number === 0;
    byId("change-next").disabled = this.number === changes.length - 1;
    const title = `${this.number + 1} of ${changes.length}` +
      `${leftOut ? ` (${leftOut} more are not shown)` : ""}: ` +
      `${change.refused ? "refused: " : ""}${change.cause || "changed"} at ${timeText(change.at)}`;
    byId("change-title").textContent = title;
    this.slider.setAttribute("aria-valuetext", title);
    const before = pictures[change.before], after = pictures[change.after];
    drawPicture(byId("before"), before, change.refused ? null : after, "removed");
    drawPicture(byId("after"), after, change.refused ? null : before, "added");
    byId("after").previousElementSibling.textContent = change.refused
      ? "Refused, and why" : "After";
    byId("change-lines").replaceChildren(
      ...[...(change.text ? [change.text] : []), ...change.lines].map(line => make("li", {}, line)));
  }
}
