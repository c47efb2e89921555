// SPDX-License-Identifier: Apache-2.0
// Timeline: lanes drawn on a canvas, of what is in view.
//
// The view is a range of the axis, nanoseconds or places in the order; the lanes scroll in the
// list of their names, over which the canvas lies.

const LANE = 24;   // pixels, as in the style
const LEFT = 230;  // of the names

class Timeline {
  constructor(run, lanes, onSelect) {
    Object.assign(this, { run, lanes, onSelect, matches: new Set(), current: -1, selected: -1 });
    this.box = document.getElementById("timeline");
    this.scroller = document.getElementById("lanes");
    this.canvas = document.getElementById("canvas");
    this.ruler = document.getElementById("ruler");
    this.overview = document.getElementById("overview");
    this.list = document.getElementById("names");
    this.places = [];  // what each line holds: a lane, or null for a group's name
    this.fillNames();
    this.setAxis("time");
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  fillNames() {
    let group = null;
    for (const lane of this.lanes) {
      if (lane.group !== group) {
        group = lane.group;
        this.list.append(make("li", { class: "group" }, group));
        this.places.push(null);
      }
      const count = lane.rows.length + lane.marks.length +
        (lane.rows.length || lane.marks.length ? 0 : lane.spans.length);
      lane.element = make("li", { title: `${group}: ${lane.name}` },
        make("span", { class: "name" }, lane.name),
        make("span", { class: "many" }, lane.detail || ""), make("span", { class: "many" }, `${count}`));
      lane.place = this.places.length;
      this.list.append(lane.element);
      this.places.push(lane);
    }
  }

  // ---- the view ---------------------------------------------------------------------------

  setAxis(axis) {
    this.axis = axis;
    this.whole = axis === "time" ? this.run.end : Math.max(this.run.rows.count, 1);
    this.view = { from: 0, to: this.whole };
  }

  x(at, order) {
    const value = this.axis === "time" ? at : order;
    return (value - this.view.from) / (this.view.to - this.view.from) * this.width;
  }

  rowX(row) { return this.x(this.run.rows.at[row], row + 0.5); }

  itemX(item) { return this.x(itemAt(this.run, item), itemOrder(this.run, item)); }

  show(from, to) {
    const least = this.axis === "time" ? Math.min(10, this.whole) : Math.min(4, this.whole);
    const length = Math.min(Math.max(to - from, least), this.whole);
    const start = Math.min(Math.max(from, 0), this.whole - length);
    this.view = { from: start, to: start + length };
    this.draw();
    this.box.dispatchEvent(new Event("view"));
  }

  zoom(factor, around = 0.5) {
    const length = this.view.to - this.view.from, middle = this.view.from + length * around;
    this.show(middle - length * factor * around, middle + length * factor * (1 - around));
  }

  pan(part) {
    const by = (this.view.to - this.view.from) * part;
    this.show(this.view.from + by, this.view.to + by);
  }

  reveal(item) {
    const value = this.axis === "time" ? itemAt(this.run, item) : itemOrder(this.run, item);
    const length = this.view.to - this.view.from;
    if (value < this.view.from || value > this.view.to) {
      this.show(value - length / 2, value + length / 2);
    }
    const lane = this.laneOf(item);
    if (!lane) return;
    const top = lane.place * LANE, scroller = this.scroller;
    if (top < scroller.scrollTop + LANE || top > scroller.scrollTop + scroller.clientHeight - LANE) {
      scroller.scrollTop = top - scroller.clientHeight / 2;
    }
  }

  laneOf(item) {
    if (this.current >= 0 && this.holds(this.lanes[this.current], item)) {
      return this.lanes[this.current];
    }
    return this.lanes.find(lane => this.holds(lane, item));
  }

  holds(lane, item) {
    if (item < this.run.rows.count) return lane.rows[lowerBound(lane.rows, item)] === item;
    return lane.marks.some(mark => mark.item === item) ||
      lane.spans.some(span => span.item === item);
  }

  select(item) {
    this.selected = item;
    this.onSelect(item);
    this.draw();
  }

  setCurrent(number) {
    if (this.current >= 0) this.lanes[this.current].element.classList.remove("current");
    this.current = number;
    if (number >= 0) {
      this.lanes[number].element.classList.add("current");
      this.lanes[number].element.scrollIntoView({ block: "nearest" });
    }
  }

  // The item before or after the selected one in the current lane.
  step(by) {
    const lane = this.lanes[Math.max(this.current, 0)];
    const items = [...lane.rows, ...lane.marks.map(mark => mark.item),
      ...lane.spans.filter(span => span.item >= this.run.rows.count).map(span => span.item)]
      .sort((a, b) => itemOrder(this.run, a) - itemOrder(this.run, b) || a - b);
    if (!items.length) return;
    let at = items.indexOf(this.selected);
    if (at < 0) {
      at = items.findIndex(item => this.itemX(item) >= 0);
      if (at < 0) at = items.length - 1;
    } else at = Math.min(Math.max(at + by, 0), items.length - 1);
    this.reveal(items[at]);
    this.select(items[at]);
  }

  // ---- drawing ----------------------------------------------------------------------------

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.drawNow();
    });
  }

  prepare(canvas, width, height) {
    const scale = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    return context;
  }

  drawNow() {
    const style = getComputedStyle(document.documentElement);
    const colour = name => style.getPropertyValue(`--${name}`).trim();
    this.dark = document.documentElement.dataset.theme === "dark";
    this.colours = Object.fromEntries(
      ["paper", "panel", "line", "ink", "soft", "accent", "bad", "lane", "select"]
        .map(name => [name, colour(name)]));
    this.width = Math.max(this.box.clientWidth - LEFT - 2, 50);
    const height = Math.min(this.scroller.clientHeight, this.places.length * LANE);
    const top = this.scroller.scrollTop;
    this.canvas.style.top = `${top}px`;
    const context = this.prepare(this.canvas, this.width, height);
    context.font = "11px system-ui, 'DejaVu Sans', sans-serif";
    context.textBaseline = "middle";
    for (let place = Math.floor(top / LANE); place * LANE < top + height; ++place) {
      this.drawLane(context, this.places[place], place * LANE - top);
    }
    if (this.selected >= 0) {
      context.fillStyle = this.colours.select;
      context.fillRect(this.itemX(this.selected) - 0.5, 0, 1, height);
    }
    this.drawRuler();
    this.drawOverview();
    this.box.dataset.from = this.view.from;
    this.box.dataset.to = this.view.to;
  }

  drawLane(context, lane, y) {
    const { colours, width } = this;
    context.fillStyle = lane ? colours.lane : colours.panel;
    context.fillRect(0, y, width, LANE - 1);
    if (!lane) return;
    const light = this.dark ? [36, 66] : [80, 46];
    for (const span of lane.spans) {
      const from = this.x(span.at, span.order);
      const to = span.end === null ? this.x(this.run.end, this.run.rows.count)
        : this.x(span.end, span.endOrder);
      if (to < 0 || from > width) continue;
      const left = Math.max(from, -2), length = Math.max(Math.min(to, width + 2) - left, 2);
      const faded = this.matches.size && span.item !== undefined && !span.soft &&
        !this.matches.has(span.item);
      context.globalAlpha = (span.soft ? 0.55 : 1) * (faded ? 0.35 : 1);
      context.fillStyle = `hsl(${span.hue} 60% ${light[0]}%)`;
      context.fillRect(left, y + 3, length, LANE - 7);
      context.globalAlpha = 1;
      if (length > 30 && !lane.quiet) {
        context.save();
        context.beginPath();
        context.rect(left, y, length - 4, LANE);
        context.clip();
        context.fillStyle = colours.ink;
        context.fillText(span.text, left + 5, y + (lane.rows.length ? 9 : LANE / 2 - 0.5));
        context.restore();
      }
    }
    this.drawRows(context, lane, y, light[1]);
    for (const mark of lane.marks) {
      const x = this.x(mark.at, mark.order);
      if (x < -200 || x > width + 10) continue;
      context.globalAlpha = this.matches.size && !this.matches.has(mark.item) ? 0.3 : 1;
      context.fillStyle = mark.failed || mark.type === "fault" || mark.type === "critical"
        ? colours.bad : `hsl(${hueOf(mark.title)} 60% ${light[1]}%)`;
      context.beginPath();
      context.moveTo(x, y + 4);
      context.lineTo(x + 6, y + LANE / 2 - 1);
      context.lineTo(x, y + LANE - 6);
      context.lineTo(x - 6, y + LANE / 2 - 1);
      context.fill();
      context.globalAlpha = 1;
    }
    this.nameMarks(context, lane, y);
  }

  // Their titles, where there is room before the next one.
  nameMarks(context, lane, y) {
    context.fillStyle = this.colours.soft;
    lane.marks.forEach((mark, i) => {
      const x = this.x(mark.at, mark.order);
      const next = lane.marks[i + 1];
      const room = (next ? this.x(next.at, next.order) - 10 : this.width) - x - 10;
      if (x < -200 || x > this.width || room < 24) return;
      context.save();
      context.beginPath();
      context.rect(x + 9, y, room, LANE);
      context.clip();
      context.fillText(mark.title, x + 9, y + LANE / 2);
      context.restore();
    });
  }

  drawRows(context, lane, y, light) {
    const { rows, kinds } = this.run, list = lane.rows;
    let i = this.firstInView(list), lastX = -9, lastKind = -1, lastMatch = false;
    for (; i < list.length; ++i) {
      const row = list[i], x = this.rowX(row);
      if (x > this.width + 2) break;
      const kind = rows.kind[row], match = this.matches.size && this.matches.has(row);
      if (x - lastX < 0.7 && kind === lastKind && match === lastMatch) continue;
      [lastX, lastKind, lastMatch] = [x, kind, match];
      const step = kinds[kind].step;
      context.globalAlpha = this.matches.size && !match ? 0.18 : step ? 0.5 : 1;
      context.fillStyle = step ? this.colours.soft
        : `hsl(${hueOf(kinds[kind].label)} 65% ${light}%)`;
      const top = step ? 16 : lane.quiet || !lane.spans.length ? 5 : 13;
      context.fillRect(x - 1, y + top, match ? 3 : 2, step ? 4 : LANE - 6 - top);
    }
    context.globalAlpha = 1;
  }

  firstInView(list) {
    let low = 0, high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rowX(list[middle]) < -2) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  drawRuler() {
    const { colours, width } = this;
    const context = this.prepare(this.ruler, width + LEFT, 26);
    context.translate(LEFT, 0);
    context.font = "11px system-ui, 'DejaVu Sans', sans-serif";
    context.textBaseline = "middle";
    const length = this.view.to - this.view.from;
    const raw = length / Math.max(width / 130, 1), power = 10 ** Math.floor(Math.log10(raw));
    const tick = Math.max([1, 2, 5, 10].map(n => n * power).find(n => n >= raw), 1);
    for (let at = Math.ceil(this.view.from / tick) * tick; at <= this.view.to; at += tick) {
      const x = (at - this.view.from) / length * width;
      context.fillStyle = colours.line;
      context.fillRect(x, 16, 1, 10);
      context.fillStyle = colours.soft;
      context.fillText(this.axis === "time" ? timeText(Math.round(at)) : `#${Math.round(at)}`,
        x + 4, 12);
    }
    context.fillStyle = colours.soft;
    context.fillText(this.axis === "time" ? "simulated time" : "order of events", 8 - LEFT, 12);
  }

  drawOverview() {
    const { colours, width, run } = this;
    const context = this.prepare(this.overview, width + LEFT, 34);
    context.translate(LEFT, 0);
    const counts = this.density(width), most = Math.max(...counts, 1);
    context.fillStyle = colours.soft;
    counts.forEach((count, x) => {
      const high = count ? 3 + 23 * Math.log1p(count) / Math.log1p(most) : 0;
      context.fillRect(x, 30 - high, 1, high);
    });
    context.fillStyle = colours.bad;
    for (const mark of run.marks) {
      if (!mark.failed && mark.type !== "fault") continue;
      context.fillRect((this.axis === "time" ? mark.at : mark.order) / this.whole * width - 1, 2,
        2, 6);
    }
    const from = this.view.from / this.whole * width, to = this.view.to / this.whole * width;
    context.strokeStyle = colours.accent;
    context.lineWidth = 2;
    context.strokeRect(from + 1, 1, Math.max(to - from - 2, 2), 32);
    context.fillStyle = colours.soft;
    context.font = "11px system-ui, 'DejaVu Sans', sans-serif";
    context.fillText("overview", 8 - LEFT, 20);
  }

  density(width) {
    const key = `${Math.floor(width)} ${this.axis}`;
    if (this.densityKey !== key) {
      this.densityKey = key;
      this.densities = new Array(Math.floor(width)).fill(0);
      for (let row = 0; row < this.run.rows.count; ++row) {
        const value = this.axis === "time" ? this.run.rows.at[row] : row;
        ++this.densities[Math.min(Math.floor(value / this.whole * width),
          this.densities.length - 1)];
      }
    }
    return this.densities;
  }

  // ---- pointer ----------------------------------------------------------------------------

  listen() {
    this.scroller.addEventListener("scroll", () => this.draw());
    this.box.addEventListener("wheel", event => {
      const along = event.shiftKey && !event.deltaX ? event.deltaY : event.deltaX;
      if (event.ctrlKey || event.metaKey || event.altKey) {
        const box = this.canvas.getBoundingClientRect();
        this.zoom(1.0015 ** event.deltaY, (event.clientX - box.left) / this.width);
      } else if (Math.abs(along) > 0 && Math.abs(along) >= Math.abs(event.deltaX)) {
        this.pan(along / this.width);
      } else return;
      event.preventDefault();
    }, { passive: false });
    this.drag(this.canvas, (start, view, x) => {
      const by = (start - x) / this.width * (view.to - view.from);
      this.show(view.from + by, view.to + by);
    }, (x, y) => this.pick(x, y));
    this.drag(this.ruler, () => {}, () => {}, (from, to, view) => {
      const at = x => view.from + (x - LEFT) / this.width * (view.to - view.from);
      this.show(at(Math.min(from, to)), at(Math.max(from, to)));
    });
    const centre = x => {
      const length = this.view.to - this.view.from;
      const middle = (x - LEFT) / this.width * this.whole;
      this.show(middle - length / 2, middle + length / 2);
    };
    this.drag(this.overview, (_start, _view, x) => centre(x), x => centre(x));
    this.list.addEventListener("click", event => {
      const number = this.lanes.findIndex(lane => lane.element.contains(event.target));
      if (number >= 0) this.setCurrent(number);
    });
  }

  drag(element, moved, clicked, ended = () => {}) {
    element.addEventListener("pointerdown", event => {
      if (event.button !== 0) return;
      const box = element.getBoundingClientRect(), start = event.clientX - box.left;
      const view = { ...this.view };
      let far = false;
      element.setPointerCapture(event.pointerId);
      element.onpointermove = move => {
        const x = move.clientX - box.left;
        far = far || Math.abs(x - start) > 3;
        if (far) moved(start, view, x);
      };
      element.onpointerup = up => {
        element.onpointermove = element.onpointerup = null;
        if (far) ended(start, up.clientX - box.left, view);
        else clicked(start, event.clientY - box.top);
      };
    });
    if (element !== this.overview) {
      element.addEventListener("dblclick", event => this.zoom(
        0.4, (event.clientX - this.canvas.getBoundingClientRect().left) / this.width));
    }
  }

  // What is nearest to a point of the canvas.
  pick(x, y) {
    const lane = this.places[Math.floor((y + this.scroller.scrollTop) / LANE)];
    if (!lane) return;
    this.setCurrent(this.lanes.indexOf(lane));
    let best = -1, distance = 8;
    const near = (item, at) => {
      if (Math.abs(at - x) < distance) [best, distance] = [item, Math.abs(at - x)];
    };
    for (let i = this.firstInView(lane.rows); i < lane.rows.length; ++i) {
      const at = this.rowX(lane.rows[i]);
      if (at > x + 8) break;
      if (!this.run.kinds[this.run.rows.kind[lane.rows[i]]].step || best < 0) near(lane.rows[i], at);
    }
    for (const mark of lane.marks) near(mark.item, this.x(mark.at, mark.order));
    if (best < 0) {
      const span = lane.spans.find(one => one.item !== undefined && this.x(one.at, one.order) <= x
        && (one.end === null || Math.max(this.x(one.end, one.endOrder),
          this.x(one.at, one.order) + 3) >= x));
      if (span) best = span.item;
    }
    this.select(best);
  }
}

// The first place whose value is not below.
function lowerBound(list, value) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
