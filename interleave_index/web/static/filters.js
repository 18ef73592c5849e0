// Filters: dates, camera, folder, a box on a map. Asks only what there is to filter by.

import { button, clear, count, el } from "./dom.js";
import * as api from "./api.js";
import { placeMap } from "./map.js";
import { kindOf } from "./texts.js";

const EMPTY = { after: "", before: "", camera: "", folder: "", within: null, kind: "" };

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

  // Kinds of sources that passages may come from; texts: whether passages are asked for.
  get kinds() { return this.texts && this.values.kind ? [this.values.kind] : []; }

  get count() { return Object.entries(this.values).filter(([name, value]) => value && (name !== "kind" || this.texts)).length - (this.values.after && this.values.before ? 1 : 0); }

  set(values) { this.values = { ...EMPTY, ...values }; if (!this.root.hidden) this.open(); }

  async toggle() {
    this.root.hidden = !this.root.hidden;
    if (!this.root.hidden) { await this.open(); this.root.querySelector("input, select")?.focus(); }
  }

  async open() {
    this.facets = await api.get("api/facets");
    const { cameras, folders, months, texts } = this.facets;
    const field = (label, input) => el("label", {}, el("span", {}, label), input);
    const on = (name) => ({ change: (event) => this.#change(name, event.target.value) });
    const pick = (name, rows, every, short = (text) => text) => el("select", { on: on(name) }, el("option", { value: "" }, every), rows.map((row) => el("option", { value: row.name, selected: row.name === this.values[name], title: row.name }, `${short(row.name)} (${row.photos.toLocaleString("en")})`)));
    const top = folders[0]?.name || "";
    const inside = (name) => name === top ? name.split("/").pop() || name : `${"  ".repeat(name.slice(top.length).split("/").length - 1)}${name.split("/").pop()}`;
    const [first, last] = [months[0]?.month, months[months.length - 1]?.month];
    const date = (name) => el("input", { type: "date", value: this.values[name], min: first ? `${first}-01` : "", on: on(name) });
    clear(this.root, el("div", { class: "filters" }, el("div", { class: "fields" },
      months.length ? [field("From", date("after")), field("To", date("before"))] : null,
      cameras.length ? field("Camera", pick("camera", cameras, "any")) : null,
      folders.length > 1 ? field("Folder", pick("folder", folders, "any", inside)) : null,
      this.texts && texts.length > 1 ? field("Kind of text", pick("kind", texts.map(({ kind, passages }) => ({ name: kind, photos: passages })), "any", kindOf)) : null,
      button("Clear filters", "undo", () => { this.values = { ...EMPTY }; this.changed(); this.open(); }, { disabled: !this.count }),
      months.length || cameras.length || folders.length > 1 || this.facets.places.length ? null : el("p", { class: "soft" }, "These photos carry no dates, cameras or places to filter by.")),
    this.facets.places.length ? this.#map() : null));
  }

  #change(name, value) { this.values[name] = value; this.changed(); this.root.querySelector(".button").disabled = !this.count; }

  // Photos as points; a box is drawn with the pointer, or written into four fields.
  #map() {
    const label = `Map of ${count(this.facets.placed, "photo")}; draw a box to filter`;
    const map = placeMap(this.facets.places, this.values.within, label, (box) => { this.values.within = box; this.changed(); this.open(); });
    const fields = ["south", "west", "north", "east"].map((name, n) => el("input", { type: "number", step: "any", placeholder: name, "aria-label": name, value: this.values.within ? this.values.within[n].toFixed(4) : "" }));
    for (const one of fields) one.addEventListener("change", () => {
      const values = fields.map((field) => field.value === "" ? NaN : Number(field.value));
      if (values.every(Number.isFinite)) { this.values.within = values; map.mark(values); this.changed(); }
    });
    return el("fieldset", {}, el("legend", {}, `Place, ${count(this.facets.placed, "photo")}`), map, el("div", { class: "numbers" }, fields));
  }
}
