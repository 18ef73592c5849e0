// Filters: dates, camera, folder, a box on a map. Asks only what there is to filter by.

import { button, clear, count, el } from "./dom.js";
import * as api from "./api.js";

const EMPTY = { after: "", before: "", camera: "", folder: "", within: null };

export class Filters {
  constructor(root, changed) {
    this.root = root;
    this.changed = changed;
    this.values = { ...EMPTY };
  }

  body() {
    const { after, before, camera, folder, within } = this.values;
    const until = before && new Date(new Date(`${before}T00:00:00Z`).getTime() + 864e5).toISOString().slice(0, 10); // that day included
    return { ...(after ? { after: `${after}T00:00:00` } : {}), ...(until ? { before: `${until}T00:00:00` } : {}), ...(camera ? { camera } : {}), ...(folder ? { folder } : {}), ...(within ? { within } : {}) };
  }

  get count() { return Object.values(this.values).filter(Boolean).length - (this.values.after && this.values.before ? 1 : 0); }

  set(values) { this.values = { ...EMPTY, ...values }; if (!this.root.hidden) this.open(); }

  async toggle() {
    this.root.hidden = !this.root.hidden;
    if (!this.root.hidden) { await this.open(); this.root.querySelector("input, select")?.focus(); }
  }

  async open() {
    this.facets = await api.get("api/facets");
    const { cameras, folders, months } = this.facets;
    const field = (label, input) => el("label", {}, el("span", {}, label), input);
    const on = (name) => ({ change: (event) => this.#change(name, event.target.value) });
    const pick = (name, rows, every, short = (text) => text) => el("select", { on: on(name) }, el("option", { value: "" }, every), rows.map((row) => el("option", { value: row.name, selected: row.name === this.values[name], title: row.name }, `${short(row.name)} (${row.photos.toLocaleString("en")})`)));
    const top = folders[0]?.name || "";
    const inside = (name) => name === top ? name.split("/").pop() || name : `${"  ".repeat(name.slice(top.length).split("/").length - 1)}${name.split("/").pop()}`;
    const [first, last] = [months[0]?.month, months[months.length - 1]?.month];
    const date = (name) => el("input", { type: "date", value: this.values[name], min: first ? `${first}-01` : "", on: on(name) });
    clear(this.root, el("div", { class: "filters" },
      months.length ? [field("From", date("after")), field("To", date("before"))] : null,
      cameras.length ? field("Camera", pick("camera", cameras, "any")) : null,
      folders.length > 1 ? field("Folder", pick("folder", folders, "any", inside)) : null,
      this.facets.places.length ? this.#map() : null,
      button("Clear filters", "undo", () => { this.values = { ...EMPTY }; this.changed(); this.open(); }, { disabled: !this.count }),
      months.length || cameras.length || folders.length > 1 || this.facets.places.length ? null : el("p", { class: "soft" }, "These photos carry no dates, cameras or places to filter by.")));
  }

  #change(name, value) { this.values[name] = value; this.changed(); this.root.querySelector(".button").disabled = !this.count; }

  // Photos as points; a box is drawn with the pointer, or written into four fields.
  #map() {
    const { places } = this.facets;
    const spread = (n) => { const values = places.map((place) => place[n]); const [a, b] = [Math.min(...values), Math.max(...values)], pad = Math.max(0.02, (b - a) * 0.1); return [a - pad, b + pad]; };
    const [[south, north], [west, east]] = [spread(0), spread(1)];
    const [w, h] = [320, 180], canvas = el("canvas", { width: w * 2, height: h * 2, class: "map", role: "img", "aria-label": `Map of ${count(this.facets.placed, "photo")}; draw a box to filter` });
    const x = (longitude) => (longitude - west) / (east - west) * w * 2, y = (latitude) => (north - latitude) / (north - south) * h * 2;
    const style = getComputedStyle(document.documentElement);
    const draw = (box) => {
      const pen = canvas.getContext("2d");
      pen.clearRect(0, 0, w * 2, h * 2);
      pen.fillStyle = style.getPropertyValue("--link");
      for (const [latitude, longitude] of places) { pen.beginPath(); pen.arc(x(longitude), y(latitude), 6, 0, 7); pen.fill(); }
      if (box) { pen.lineWidth = 4; pen.strokeStyle = style.getPropertyValue("--ink"); pen.strokeRect(x(box[1]), y(box[2]), x(box[3]) - x(box[1]), y(box[0]) - y(box[2])); }
    };
    const at = (event) => { const place = canvas.getBoundingClientRect(); return [north - (event.clientY - place.top) / place.height * (north - south), west + (event.clientX - place.left) / place.width * (east - west)]; };
    const box = (a, b) => [Math.max(-90, Math.min(a[0], b[0])), Math.max(-180, Math.min(a[1], b[1])), Math.min(90, Math.max(a[0], b[0])), Math.min(180, Math.max(a[1], b[1]))];
    canvas.addEventListener("pointerdown", (event) => {
      const start = at(event);
      let drawn = null;
      canvas.setPointerCapture(event.pointerId);
      const move = (moved) => { drawn = box(start, at(moved)); draw(drawn); };
      canvas.addEventListener("pointermove", move);
      canvas.addEventListener("pointerup", () => { canvas.removeEventListener("pointermove", move); this.values.within = drawn; this.changed(); this.open(); }, { once: true });
    });
    draw(this.values.within);
    const fields = ["south", "west", "north", "east"].map((name, n) => el("input", { type: "number", step: "any", placeholder: name, "aria-label": name, value: this.values.within ? this.values.within[n].toFixed(4) : "" }));
    for (const one of fields) one.addEventListener("change", () => {
      const values = fields.map((field) => field.value === "" ? NaN : Number(field.value));
      if (values.every(Number.isFinite)) { this.values.within = values; draw(values); this.changed(); }
    });
    return el("fieldset", {}, el("legend", {}, `Place, ${count(this.facets.placed, "photo")}`), canvas, el("div", { class: "numbers" }, fields));
  }
}
