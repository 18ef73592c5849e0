// One photo, large: its masks, all its regions, what was found, its facts, its near-duplicates.

import { $, button, clear, colours, count, el, icon, likely, percent, say } from "./dom.js";
import * as api from "./api.js";
import { area, covers, fitted, paint, paintHeat } from "./masks.js";
import { textsOf } from "./texts.js";

export class Viewer {
  // acts: {step(by), like(photo), add(part), replace(part), again(hit) -> promise of a looked-at hit, query() -> parts, chosen, choose}
  constructor(acts) {
    this.acts = acts;
    this.image = el("img", { alt: "", on: { load: () => this.#draw() } });
    this.canvas = el("canvas", { class: "over", "aria-hidden": "true" });
    this.stage = el("div", { class: "stage", on: { pointermove: (event) => this.#over(event), pointerleave: () => this.#hover(-1), click: (event) => this.#click(event) } }, this.image, this.canvas);
    this.side = el("aside", { "aria-label": "About this photo" });
    this.title = el("h2", {});
    this.previous = button("Previous photo", "left", () => acts.step(-1), { quiet: true, class: "step" });
    this.next = button("Next photo", "right", () => acts.step(1), { quiet: true, class: "step" });
    this.dialog = el("dialog", { class: "viewer", "aria-label": "Photo", on: { close: () => { this.open = false; acts.closed(); }, keydown: (event) => this.#key(event) } },
      el("header", {}, this.title, button("Close", "close", () => this.dialog.close(), { quiet: true })),
      el("div", { class: "middle" }, this.previous, this.stage, this.next), this.side);
    document.body.append(this.dialog);
    new ResizeObserver(() => this.#draw()).observe(this.stage);
  }

  async show(item, { search, first, last }) {
    Object.assign(this, { item, search, regions: [], entities: [], hovered: -1, picked: -1, only: -1, point: null, texts: null, heat: null, warm: 0, looking: false });
    this.all = this.all && true;
    const { photo } = item;
    this.hit = item.hit;
    this.title.textContent = photo.name;
    this.previous.disabled = first;
    this.next.disabled = last;
    this.image.src = api.display(photo.id);
    this.image.alt = photo.name;
    if (!this.dialog.open) this.dialog.showModal();
    this.open = true;
    this.#panel();
    this.#draw();
    const mine = item;
    const [masks, stored, texts] = await Promise.all([
      search && this.hit ? api.masksOf(search, photo.id).catch(() => []) : [],
      api.regionsOf(photo.id).catch(() => ({ regions: [] })),
      api.textsOf(photo.id).catch(() => null)]);
    if (this.item !== mine) return;
    if (!this.hit?.looked) this.entities = masks;
    this.texts = texts;
    this.regions = stored.regions.map((region) => ({ ...region, area: area(region.mask) }));
    this.#panel();
    this.#draw();
  }

  // --- what is painted -----------------------------------------------------------------------

  #draw() {
    if (!this.item || !this.stage.clientWidth) return;
    const [w, h] = fitted(this.stage, this.item.photo.width, this.item.photo.height);
    this.image.style.width = `${w}px`;
    this.image.style.height = `${h}px`;
    this.canvas.style.width = `${w}px`;
    this.canvas.style.height = `${h}px`;
    if (this.heat) {
      const map = this.heat.get(this.only) || this.heat.get(this.warm);
      if (map) paintHeat(this.canvas, w, h, map);
      return;
    }
    const marked = [this.picked, this.hovered].filter((n) => n >= 0);
    const shapes = [];
    if (this.all) this.regions.forEach((region, n) => shapes.push({ rle: region.mask, n, look: marked.length > 0 && !marked.includes(n) ? "faint" : "outline" }));
    else this.entities.forEach((masks, n) => {
      if (this.only >= 0 ? this.only !== n : this.off?.has(n)) return;
      for (const rle of masks) shapes.push({ rle, n, look: marked.length > 0 ? "faint" : this.hit.entities[n].present ? "there" : "doubtful" });
    });
    for (const n of new Set(marked)) if (this.regions[n]) shapes.push({ rle: this.regions[n].mask, n: this.all ? n : 1, look: n === this.picked ? "strong" : "pointed" });
    paint(this.canvas, w, h, shapes);
  }

  // Regions under the pointer: the best-scoring one, then those that are larger, from small to large.
  #under(event) {
    const place = this.image.getBoundingClientRect();
    const [x, y] = [(event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height];
    if (x < 0 || y < 0 || x >= 1 || y >= 1) return [];
    const there = this.regions.map((region, n) => ({ ...region, n })).filter((region) => covers(region.mask, x, y));
    if (!there.length) return [];
    const best = there.reduce((one, other) => other.score > one.score ? other : one);
    const larger = there.filter((region) => region.area > best.area).sort((one, other) => one.area - other.area);
    return [best, ...larger].map((region) => region.n);
  }

  #over(event) { if (event.pointerType === "mouse") this.#hover(this.#under(event)[0] ?? -1); }

  #hover(n) {
    if (n === this.hovered) return;
    this.hovered = n;
    this.stage.classList.toggle("hot", n >= 0);
    this.#draw();
  }

  #click(event) {
    const place = this.image.getBoundingClientRect(), { photo } = this.item;
    const [x, y] = [(event.clientX - place.left) / place.width * photo.width, (event.clientY - place.top) / place.height * photo.height];
    this.point = x >= 0 && y >= 0 && x < photo.width && y < photo.height ? [x, y] : null;
    const there = this.#under(event), before = there.indexOf(this.picked);
    this.pick(before < 0 ? there[0] ?? -1 : there[(before + 1) % there.length]); // a second click takes the next larger one
  }

  pick(n) {
    this.picked = n;
    this.#panel();
    this.#draw();
    $(".picked .button", this.side)?.focus({ preventScroll: false });
  }

  // --- what stands beside it -----------------------------------------------------------------

  #panel() {
    clear(this.side, this.#actions(), this.#picked(), this.#found(), this.#told(), this.#regionList(), this.#facts(), this.#stack());
  }

  #actions() {
    const { photo } = this.item;
    const close = (act) => () => { this.dialog.close(); act(); };
    return el("div", { class: "acts" },
      button("More like this", "like", close(() => this.acts.like(photo)), { class: "main" }),
      button("Add to query", "add", close(() => this.acts.add({ photo: photo.id, shown: api.thumbnail(photo.id), name: photo.name, width: photo.width, height: photo.height }))),
      button("Mark a part…", "box", () => this.acts.mark(photo, this.dialog)),
      !this.acts.listed(photo.id) ? null : button(this.acts.chosen(photo.id) ? "Selected" : "Select", "check", () => { this.acts.choose(photo.id); this.#panel(); }, { "aria-pressed": String(this.acts.chosen(photo.id)) }));
  }

  #picked() {
    const region = this.regions[this.picked];
    const { photo } = this.item;
    if (!region && !this.point) return el("p", { class: "soft hint" }, "Click a thing in the photo to search for more like it; click again for what it is a part of.");
    const shared = { shown: api.thumbnail(photo.id), name: `part of ${photo.name}`, width: photo.width, height: photo.height };
    const part = region ? { ...shared, region: region.region } : { ...shared, photo: photo.id, mark: { points: [this.point] } };
    const close = (act) => () => { this.dialog.close(); act(); };
    return el("section", { class: "picked", "aria-label": "The part that was clicked" },
      region ? el("h3", {}, `Part ${this.picked + 1}`, el("span", { class: "soft" }, ` ${percent(region.area)} of the photo`)) : el("h3", {}, "What is at this point"),
      el("div", { class: "row wrap" }, button("More like this part", "region", close(() => this.acts.replace(part)), { class: "main" }),
        button("Add to the query", "add", close(() => this.acts.add(part))),
        button("Not this", "close", close(() => this.acts.add({ ...part, not: true })))));
  }

  #found() {
    const { hit } = this;
    if (!hit) return null;
    this.off ||= new Set();
    return el("section", {}, el("h3", {}, "What was found"),
      el("p", { class: "soft" }, `Rank ${hit.rank} · relevance ${percent(hit.relevance)}${this.item.hit.meant ? "" : ", probably not meant"}`),
      el("ul", { class: "entities" }, hit.entities.map((entity, n) => el("li", {},
        el("button", { type: "button", class: "entity", vars: colours(n), "aria-pressed": String(!this.off.has(n)), title: "Show or hide its mask",
          on: { click: () => { this.off.has(n) ? this.off.delete(n) : this.off.add(n); this.#panel(); this.#draw(); },
            pointerenter: () => { this.only = n; this.#draw(); }, pointerleave: () => { this.only = -1; this.#draw(); } } },
        el("i", { class: `dot ${entity.present ? "" : "absent"}` }), el("span", { class: "what", title: entity.text }, entity.negative ? el("b", {}, "not ") : null, this.acts.name(n, entity)),
        el("span", { class: "soft", title: likely(entity) }, `${entity.verdict} · ${percent(entity.probability)}`))))),
      el("div", { class: "row wrap" }, button(this.looking ? "Looking …" : hit.looked ? "Looked closely" : "Look closely", "eye", () => this.#look(), { disabled: this.looking || hit.looked, title: "The model looks at this photo again, with the query in mind" }),
      button("Heat map", "fire", () => this.#warmth(), { "aria-pressed": String(Boolean(this.heat)), id: "heat", title: "How much every place resembles a part of the query" })),
      this.heat ? el("p", { class: "soft hint" }, this.#legend()) : null);
  }

  // What the texts beside the photo say; those that spoke for the hit first.
  #told() {
    if (!this.texts) return null;
    return textsOf(this.texts, { here: this.item.photo.id, match: this.hit?.text, open: (photo) => this.acts.other(photo.id) });
  }

  #legend() {
    const map = this.heat.get(this.warm);
    if (!map) return "There is nothing to draw a map of.";
    return `Yellow is most like ${this.acts.name(this.warm, this.hit.entities[this.warm])} (${map.high.toFixed(2)}), black least (${map.low.toFixed(2)}). ${this.heat.size > 1 ? "Point at another part above for its own." : ""}`;
  }

  async #warmth() {
    const { item } = this;
    if (this.heat) this.heat = null;
    else try {
      const found = await this.acts.heat(item);
      if (this.item !== item) return;
      const wanted = item.hit.entities.map((entity, n) => ({ n, ...entity })).filter((entity) => !entity.negative); // maps are of these
      this.heat = new Map(wanted.map((entity, at) => [entity.n, found.maps[at]]));
      this.warm = (wanted.find((entity) => entity.present) || wanted[0])?.n ?? -1;
    } catch (problem) { say(problem.message, "bad"); }
    this.#panel();
    this.#draw();
    $("#heat", this.side)?.focus();
  }

  async #look() {
    const { item } = this;
    this.looking = true;
    this.#panel();
    try {
      const look = await this.acts.again(item);
      if (this.item === item) {
        this.hit = { ...look, rank: item.hit.rank, score: item.hit.score, relevance: item.hit.relevance, stack: item.hit.stack, looked: true };
        this.entities = look.masks;
      }
    } catch (problem) { say(problem.message, "bad"); }
    this.looking = false;
    this.#panel();
    this.#draw();
  }

  #regionList() {
    if (!this.regions.length) return null;
    const toggle = el("button", { type: "button", class: "button", id: "all-regions", "aria-pressed": String(Boolean(this.all)), on: { click: () => this.#toggle() } }, icon("region"), el("span", {}, `All ${count(this.regions.length, "part")}`));
    return el("section", {}, el("h3", {}, "Parts"), toggle, this.all ? el("ol", { class: "regions" }, this.regions.map((region, n) => el("li", {},
      el("button", { type: "button", class: "button small", vars: colours(n), "aria-pressed": String(this.picked === n), on: { click: () => this.pick(n), focus: () => this.#hover(n), blur: () => this.#hover(-1), pointerenter: () => this.#hover(n), pointerleave: () => this.#hover(-1) } },
        el("i", { class: "dot" }), percent(region.area))))) : null);
  }

  #toggle() { this.all = !this.all; this.#panel(); this.#draw(); $("#all-regions", this.side)?.focus(); }

  #facts() {
    const { photo } = this.item;
    const rows = [["Folder", photo.folder], ["Taken", photo.taken_at && new Date(photo.taken_at).toLocaleString("en", { dateStyle: "long", timeStyle: "short" })], ["Camera", photo.camera], ["Lens", photo.lens],
      ["Size", `${photo.width} × ${photo.height} ${photo.format}`], ["Place", photo.latitude !== null && `${photo.latitude.toFixed(4)}, ${photo.longitude.toFixed(4)}`], ["Id", String(photo.id)]];
    return el("section", {}, el("h3", {}, "Photo"), el("dl", {}, rows.filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
      el("a", { class: "button", href: api.original(photo.id), download: photo.name }, icon("export"), el("span", {}, "Original file")));
  }

  #stack() {
    const ids = this.hit?.stack || [];
    if (!ids.length) return null;
    return el("section", {}, el("h3", {}, count(ids.length, "near-duplicate")), el("div", { class: "strip-of" }, ids.map((id) =>
      el("button", { type: "button", title: `photo ${id}`, on: { click: () => this.acts.other(id) } }, el("img", { src: api.thumbnail(id), alt: `near-duplicate, photo ${id}`, loading: "lazy" })))));
  }

  #key(event) {
    if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = { ArrowLeft: () => this.acts.step(-1), ArrowRight: () => this.acts.step(1), r: () => this.#toggle(), x: () => { if (this.acts.listed(this.item.photo.id)) { this.acts.choose(this.item.photo.id); this.#panel(); } },
      m: () => { this.dialog.close(); this.acts.like(this.item.photo); } }[event.key];
    if (act) { event.preventDefault(); event.stopPropagation(); act(); }
  }
}
