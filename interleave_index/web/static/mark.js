// Marking a part of a picture: a box, points or a brush; and what the model understands by it.

import { button, clear, el, later } from "./dom.js";
import * as api from "./api.js";
import { encode, fitted, paint } from "./masks.js";

const TOOLS = { box: "Box", points: "Points", brush: "Brush" };
const BRUSH_GRID = 256; // long side of a brushed mask

// Gives a mark ({box} | {points, background} | {mask}), null for the whole picture, undefined when nothing was changed.
export function markPart(part) {
  return new Promise((done) => new Marker(part, done));
}

class Marker {
  constructor(part, done) {
    this.part = part;
    this.tool = part.mark?.points ? "points" : part.mark?.mask ? "brush" : "box";
    this.box = part.mark?.box || null;
    this.points = (part.mark?.points || []).map((at) => ({ at, on: true })).concat((part.mark?.background || []).map((at) => ({ at, on: false })));
    this.brushed = null;
    this.understood = [];
    this.ask = later(() => this.#understand(), 250);
    this.image = el("img", { src: part.photo && !part.upload ? api.display(part.photo) : part.shown, alt: part.name || "the picture", draggable: false, on: { load: () => this.#loaded() } });
    this.canvas = el("canvas", { class: "over", "aria-hidden": "true" });
    this.stage = el("div", { class: "stage", on: { pointerdown: (event) => this.#down(event) } }, this.image, this.canvas);
    this.said = el("p", { class: "soft", role: "status" }, "Draw a box around the part that is meant.");
    this.numbers = el("div", { class: "numbers" });
    this.tools = el("div", { class: "tools", role: "group", "aria-label": "How to mark" });
    this.background = el("input", { type: "checkbox" });
    this.thick = el("input", { type: "range", min: 2, max: 40, value: 12, "aria-label": "Width of the brush" });
    this.dialog = el("dialog", { class: "marker", "aria-label": "Mark a part of the picture", on: { close: () => { this.dialog.remove(); done(this.result); } } },
      el("header", {}, el("h2", {}, "Mark a part"), this.tools, button("Close", "close", () => this.dialog.close(), { quiet: true })),
      this.stage, this.numbers, this.said,
      el("footer", {}, button("Clear", "undo", () => this.#clear()), el("span", { class: "grow" }),
        button("Whole picture", null, () => this.#end(null)), button("Use this part", "check", () => this.#end(this.#mark()), { class: "main", id: "use-part" })));
    document.body.append(this.dialog);
    this.#choose(this.tool);
    this.dialog.showModal();
  }

  #loaded() {
    this.width = this.part.width || this.image.naturalWidth;
    this.height = this.part.height || this.image.naturalHeight;
    const scale = BRUSH_GRID / Math.max(this.width, this.height);
    this.grid = { w: Math.max(1, Math.round(this.width * scale)), h: Math.max(1, Math.round(this.height * scale)) };
    this.grid.on = new Uint8Array(this.grid.w * this.grid.h);
    new ResizeObserver(() => this.#draw()).observe(this.stage);
    this.#choose(this.tool);
    if (this.#mark()) this.ask();
  }

  #choose(tool) {
    this.tool = tool;
    clear(this.tools, Object.entries(TOOLS).map(([name, label]) => button(label, name === "points" ? "point" : name, () => this.#choose(name), { "aria-pressed": String(name === tool), class: "tool" })));
    const fields = { box: () => this.#boxFields(), points: () => [el("label", { class: "line" }, this.background, "the next point is not part of it (or hold Shift)")], brush: () => [el("label", { class: "line" }, "Width", this.thick)] };
    clear(this.numbers, fields[tool]());
    this.#draw();
  }

  #boxFields() { // a box by numbers, for those who use no pointer
    const [x0, y0, x1, y1] = (this.box || [0, 0, this.width || 0, this.height || 0]).map(Math.round);
    const make = (label, value) => el("label", {}, label, el("input", { type: "number", min: 0, value, on: { change: () => {
      const box = [...this.numbers.querySelectorAll("input")].map((one) => Number(one.value));
      if (box[2] > box[0] && box[3] > box[1]) { this.box = this.#within(box); this.#changed(); }
    } } }));
    return [make("left", x0), make("top", y0), make("right", x1), make("bottom", y1)];
  }

  #within([x0, y0, x1, y1]) {
    const [w, h] = [this.width, this.height];
    return [Math.max(0, Math.min(x0, x1)), Math.max(0, Math.min(y0, y1)), Math.min(w, Math.max(x0, x1)), Math.min(h, Math.max(y0, y1))];
  }

  #at(event) {
    const place = this.image.getBoundingClientRect();
    const inside = (value, most) => Math.max(0, Math.min(most, value));
    return [inside((event.clientX - place.left) / place.width * this.width, this.width - 0.5), inside((event.clientY - place.top) / place.height * this.height, this.height - 0.5)];
  }

  #down(event) {
    if (event.button !== 0 || !this.grid) return;
    event.preventDefault();
    const start = this.#at(event);
    if (this.tool === "points") {
      this.points.push({ at: start, on: !(event.shiftKey || this.background.checked) });
      this.#changed();
      return;
    }
    const before = this.box;
    let last = start;
    const move = (moved) => {
      const here = this.#at(moved);
      if (this.tool === "box") this.box = this.#within([...start, ...here]);
      else this.#stroke(last, here);
      last = here;
      this.#draw();
    };
    const up = () => {
      this.stage.removeEventListener("pointermove", move);
      this.stage.removeEventListener("pointerup", up);
      this.stage.removeEventListener("pointercancel", up);
      if (this.tool === "box" && this.box && (this.box[2] - this.box[0] < 3 || this.box[3] - this.box[1] < 3)) this.box = before;
      this.#changed();
    };
    if (this.tool === "brush") { this.#stroke(start, start); this.#draw(); }
    this.stage.setPointerCapture(event.pointerId);
    this.stage.addEventListener("pointermove", move);
    this.stage.addEventListener("pointerup", up);
    this.stage.addEventListener("pointercancel", up);
  }

  #stroke(from, to) {
    const { w, h, on } = this.grid, scale = w / this.width, r = Number(this.thick.value) / 2;
    const steps = Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) * scale) + 1;
    for (let n = 0; n <= steps; n++) {
      const cx = (from[0] + (to[0] - from[0]) * n / steps) * scale, cy = (from[1] + (to[1] - from[1]) * n / steps) * scale;
      for (let y = Math.max(0, Math.floor(cy - r)); y <= Math.min(h - 1, cy + r); y++)
        for (let x = Math.max(0, Math.floor(cx - r)); x <= Math.min(w - 1, cx + r); x++)
          if ((x + 0.5 - cx) ** 2 + (y + 0.5 - cy) ** 2 <= r * r) on[y * w + x] = 1;
    }
    this.brushed = encode(this.grid);
  }

  #mark() {
    if (this.tool === "box") return this.box ? { box: this.box.map((value) => Math.round(value * 10) / 10) } : null;
    if (this.tool === "brush") return this.brushed ? { mask: this.brushed } : this.part.mark?.mask ? { mask: this.part.mark.mask } : null;
    const [on, off] = [true, false].map((which) => this.points.filter((point) => point.on === which).map((point) => point.at));
    return on.length ? { points: on, ...(off.length ? { background: off } : {}) } : null;
  }

  #clear() {
    this.box = null;
    this.points = [];
    this.brushed = null;
    this.part = { ...this.part, mark: undefined };
    this.grid?.on.fill(0);
    this.understood = [];
    this.#choose(this.tool);
  }

  #changed() {
    if (this.tool === "box") clear(this.numbers, this.#boxFields());
    this.#draw();
    this.ask();
  }

  async #understand() {
    const mark = this.#mark();
    if (!mark) return;
    const picture = this.part.upload ? { upload: this.part.upload } : { photo: this.part.photo };
    this.said.textContent = "Asking what the model understands …";
    this.asked?.abort();
    this.asked = new AbortController();
    try {
      const look = await api.post("api/ground", { ...picture, parts: [{ ...picture, ...mark }] }, this.asked.signal);
      this.understood = look.masks[0] || [];
      this.said.textContent = "Blue is what the model understands by your mark.";
    } catch (problem) {
      if (problem.name === "AbortError") return;
      this.understood = [];
      this.said.textContent = problem.message;
    }
    this.#draw();
  }

  #draw() {
    if (!this.grid || !this.stage.clientWidth) return;
    const [w, h] = fitted(this.stage, this.width, this.height);
    this.image.style.width = `${w}px`;
    this.image.style.height = `${h}px`;
    const shapes = this.understood.map((rle) => ({ rle, n: 1 }));
    if (this.tool === "brush" && this.#mark()) shapes.push({ rle: this.#mark().mask, n: 0 });
    this.canvas.style.width = `${w}px`;
    this.canvas.style.height = `${h}px`;
    paint(this.canvas, w, h, shapes);
    const pen = this.canvas.getContext("2d"), scale = this.canvas.width / this.width;
    for (const [width, ink] of [[5, "rgb(0 0 0 / .6)"], [2.5, "rgb(230 159 0)"]]) {
      pen.lineWidth = width;
      pen.strokeStyle = ink;
      if (this.tool === "box" && this.box) pen.strokeRect(this.box[0] * scale, this.box[1] * scale, (this.box[2] - this.box[0]) * scale, (this.box[3] - this.box[1]) * scale);
      if (this.tool === "points") for (const { at: [x, y], on } of this.points) {
        pen.beginPath();
        pen.arc(x * scale, y * scale, 8, 0, 7);
        if (!on) { pen.moveTo(x * scale - 5, y * scale - 5); pen.lineTo(x * scale + 5, y * scale + 5); }
        pen.stroke();
      }
    }
  }

  #end(result) {
    this.result = result;
    this.dialog.close();
  }
}
