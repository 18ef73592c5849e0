// A justified grid of any length: only the rows near the window are in the document.

import { button, colours, count, el, icon, likely, percent } from "./dom.js";
import * as api from "./api.js";
import { paint } from "./masks.js";
import { spoke } from "./texts.js";

const GAP = 10, STRIP = 30, LINE = 20, DIVIDER = 46, AHEAD = 900;
const LONG_PRESS = 500; // ms
const REST = 90, BUDGET = 6; // ms: how long a card must stay before its masks are fetched; of painting in a frame

export class Grid {
  // acts: {open(index), choose(index, on), like(index), more(), masks(item, pointed) -> promise of shapes}
  constructor(list, acts) {
    this.list = list;
    this.acts = acts;
    this.size = 220;
    this.items = [];
    this.rows = [];
    this.cards = new Map();
    this.unpainted = new Set();
    this.current = 0;
    this.tail = -1;
    this.captions = true;
    const redraw = () => { if (!this.waiting) this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.draw(); }); };
    addEventListener("scroll", redraw, { passive: true });
    new ResizeObserver(() => { if (list.clientWidth !== this.width) this.layout(); }).observe(list);
    list.addEventListener("keydown", (event) => this.#key(event));
  }

  // items: [{photo, hit}], those that are meant first; cutoff: relevance from which they are.
  show(items, { captions = true, cutoff = 1, reset = false } = {}) {
    this.items = items;
    this.captions = captions;
    this.cutoff = cutoff;
    this.tail = items.findIndex(({ hit }) => hit && !hit.meant) || -1; // no line above all of them
    if (reset) { this.current = 0; for (const card of this.cards.values()) card.node.remove(); this.cards.clear(); scrollTo(0, 0); }
    this.layout();
  }

  layout() {
    const width = this.width = this.list.clientWidth;
    if (!width) return;
    const target = Math.min(this.size, width / 1.6);
    this.rows = [];
    let top = 0, row = [], sum = 0;
    const close = (last) => {
      const fitted = (width - GAP * (row.length - 1)) / sum;
      const height = last ? Math.min(fitted, target * 1.15) : fitted;
      const strip = this.captions ? STRIP + (row.some(([index]) => this.items[index].hit?.text) ? LINE : 0) : 0;
      let left = 0;
      const cells = row.map(([index, aspect]) => { const cell = { index, left, width: aspect * height }; left += cell.width + GAP; return cell; });
      this.rows.push({ top, height, whole: height + strip, cells });
      top += height + strip + GAP;
      row = [];
      sum = 0;
    };
    this.items.forEach((item, index) => {
      if (index === this.tail) {
        if (row.length) close(true);
        this.rows.push({ top, height: DIVIDER, whole: DIVIDER, cells: [], divider: true });
        top += DIVIDER + GAP;
      }
      const aspect = Math.min(3, Math.max(0.5, item.photo.width / item.photo.height));
      row.push([index, aspect]);
      sum += aspect;
      if (sum * target + GAP * (row.length - 1) >= width) close(false);
    });
    if (row.length) close(true);
    this.list.style.height = `${top}px`;
    this.draw(true);
  }

  draw(moved = false) {
    const above = this.list.getBoundingClientRect().top;
    const [from, to] = [-above - AHEAD, -above + innerHeight + AHEAD];
    const wanted = new Map();
    for (let n = this.#first(from); n < this.rows.length && this.rows[n].top < to; n++) {
      const row = this.rows[n];
      if (row.divider) wanted.set("divider", { row });
      for (const cell of row.cells) wanted.set(cell.index, { row, cell });
    }
    for (const [key, card] of this.cards) if (!wanted.has(key)) { card.node.remove(); this.cards.delete(key); }
    for (const [key, { row, cell }] of wanted) {
      let card = this.cards.get(key);
      if (!card || (card.item && card.item !== this.items[key])) {
        card?.node.remove();
        card = key === "divider" ? { node: this.#divider() } : this.#card(this.items[key], key);
        this.cards.set(key, card);
        this.list.append(card.node);
        card.place = "";
      }
      const place = cell ? `${cell.left}/${row.top}/${cell.width}/${row.height}` : `0/${row.top}/${this.width}/${row.height}`;
      if (card.place !== place || moved) this.#place(card, place);
    }
    if (this.rows.length && this.rows[this.rows.length - 1].top < to + 1500) this.acts.more();
  }

  refresh() { // masks, selection: what stands in the cards
    for (const card of this.cards.values()) if (card.item) { this.#dress(card); this.#paint(card); }
  }

  focus(index) {
    if (index < 0 || index >= this.items.length) return;
    const row = this.rows.find((one) => one.cells.some((cell) => cell.index === index));
    const above = this.list.getBoundingClientRect().top + scrollY, bar = document.querySelector("#top").offsetHeight;
    if (above + row.top < scrollY + bar + 8) scrollTo({ top: above + row.top - bar - 12 });
    else if (above + row.top + row.whole > scrollY + innerHeight - 8) scrollTo({ top: above + row.top + row.whole - innerHeight + 16 });
    this.draw();
    const old = this.cards.get(this.current);
    if (old?.open) old.open.tabIndex = -1;
    this.current = index;
    const card = this.cards.get(index);
    card.open.tabIndex = 0;
    card.open.focus({ preventScroll: true });
  }

  #first(from) {
    let low = 0, high = this.rows.length;
    while (low < high) { const middle = (low + high) >> 1; if (this.rows[middle].top + this.rows[middle].whole < from) low = middle + 1; else high = middle; }
    return low;
  }

  #place(card, place) {
    const [left, top, width, height] = place.split("/").map(Number);
    card.place = place;
    card.node.style.transform = `translate(${left}px, ${top}px)`;
    card.node.style.width = `${width}px`;
    if (card.open) { card.open.style.height = `${height}px`; card.size = [width, height]; this.#paint(card); }
  }

  #divider() { return el("li", { class: "divider" }, el("span", {}, "Probably not what you asked for")); }

  // How likely the hit is meant, with a tick where the cut-off is, if that can be reached.
  #meter(hit) {
    const { cutoff } = this, reached = cutoff > 0 && cutoff < 1;
    const title = `relevance ${percent(hit.relevance)}${reached ? `; from ${percent(cutoff)} on it counts as meant` : ""}; score ${hit.score.toFixed(3)}`;
    return [el("span", { class: "share", title }, percent(hit.relevance)),
      el("span", { class: `meter ${reached ? "cut" : ""}`, title, vars: { share: `${100 * hit.relevance}%`, cut: `${100 * cutoff}%` } })];
  }

  #card(item, index) {
    const { photo, hit } = item;
    const point = (on) => () => { card.pointed = on; if (hit && !hit.meant) this.#paint(card); };
    const image = el("img", { src: api.thumbnail(photo.id), alt: "", loading: "eager", decoding: "async", draggable: true,
      on: { error: () => image.replaceWith(el("span", { class: "gone" }, "no picture left")), dragstart: (event) => event.dataTransfer.setData("application/x-photo", String(photo.id)) } });
    const canvas = el("canvas", { class: "over", "aria-hidden": "true" });
    const open = el("button", { type: "button", class: "open", tabIndex: index === this.current ? 0 : -1, on: { click: (event) => { this.current = index; if (event.shiftKey || (event.detail > 0 && document.body.classList.contains("selecting"))) this.acts.choose(index, event.shiftKey); else this.acts.open(index); }, focus: point(true), blur: point(false) } }, image, canvas);
    const pick = button("Select", "check", (event) => this.acts.choose(index, event.shiftKey), { quiet: true, class: "pick", tabIndex: -1, "aria-pressed": "false" });
    const like = button("More like this", "like", () => this.acts.like(index), { quiet: true, class: "like", tabIndex: -1 });
    const strip = hit && this.captions ? el("div", { class: "strip" },
      this.#meter(hit),
      el("span", { class: "found" }, hit.entities.map((entity, n) => el("i", { class: `dot ${entity.present ? "" : "absent"}`, vars: colours(n), title: `${entity.negative ? "not " : ""}${entity.text}: ${entity.verdict}, ${likely(entity)}` }))),
      hit.stack.length ? el("span", { class: "alike", title: count(hit.stack.length, "near-duplicate") }, icon("stack"), `+${hit.stack.length}`) : null) : null;
    const text = hit?.text && this.captions ? spoke(hit.text) : null;
    const line = text ? el("p", { class: "spoke", dir: "auto", title: `${text.label}: ${text.words}` }, el("b", {}, `${text.label}: `), text.words) : null;
    const hold = { soon: 0 }; // on a touch screen a long press begins the selection
    open.addEventListener("pointerdown", (event) => { if (event.pointerType === "touch") hold.soon = setTimeout(() => { hold.held = true; this.acts.choose(index); }, LONG_PRESS); });
    for (const kind of ["pointerup", "pointercancel", "pointermove"]) open.addEventListener(kind, () => clearTimeout(hold.soon));
    open.addEventListener("contextmenu", (event) => { if (hold.held) event.preventDefault(); });
    open.addEventListener("click", (event) => { if (hold.held) { hold.held = false; event.stopImmediatePropagation(); } }, { capture: true });
    const node = el("li", { class: "card", "aria-setsize": -1, "aria-posinset": index + 1, on: { pointerenter: point(true), pointerleave: point(false) } }, open, pick, like, strip, line);
    const card = { node, open, pick, canvas, item };
    this.#dress(card);
    return card;
  }

  #dress(card) {
    const { photo, hit } = card.item;
    const found = hit ? hit.entities.filter((entity) => entity.present && !entity.negative).map((entity) => entity.text) : [];
    card.open.setAttribute("aria-label", hit ? `Hit ${hit.rank}: ${photo.name}, relevance ${percent(hit.relevance)}${hit.meant ? "" : ", probably not meant"}${found.length ? `, with ${found.join(", ")}` : ""}${hit.text ? `, by its ${spoke(hit.text).label}` : ""}` : photo.name);
    card.open.title = photo.name;
    const chosen = this.acts.chosen(photo.id);
    card.pick.setAttribute("aria-pressed", String(chosen));
    card.node.classList.toggle("chosen", chosen);
    card.node.classList.toggle("below", Boolean(hit) && !hit.meant);
  }

  // Masks of cards that only fly by are not fetched, and a frame paints no more than it has time for.
  #paint(card) {
    clearTimeout(card.soon);
    card.soon = setTimeout(async () => {
      if (!card.node.isConnected) return;
      card.shapes = await this.acts.masks(card.item, card.pointed).catch(() => []);
      this.unpainted.add(card);
      if (!this.painting) this.painting = requestAnimationFrame(() => this.#paintSome());
    }, card.shapes ? 0 : REST);
  }

  #paintSome() {
    const until = performance.now() + BUDGET;
    for (const card of this.unpainted) {
      this.unpainted.delete(card);
      if (card.node.isConnected) paint(card.canvas, card.size[0], card.size[1], card.shapes);
      if (performance.now() > until) break;
    }
    this.painting = this.unpainted.size ? requestAnimationFrame(() => this.#paintSome()) : 0;
  }

  #key(event) {
    if (event.target.closest(".strip") || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowLeft: () => this.current - 1, ArrowRight: () => this.current + 1, ArrowUp: () => this.#vertical(-1), ArrowDown: () => this.#vertical(1),
      Home: () => 0, End: () => this.items.length - 1, PageDown: () => this.#vertical(3), PageUp: () => this.#vertical(-3) }[event.key];
    const act = { x: () => this.acts.choose(this.current), X: () => this.acts.choose(this.current, true), m: () => this.acts.like(this.current) }[event.key];
    if (step) { event.preventDefault(); this.focus(Math.max(0, Math.min(this.items.length - 1, step()))); }
    else if (act) { event.preventDefault(); act(); }
  }

  #vertical(step) {
    const rows = this.rows.filter((row) => !row.divider);
    const at = rows.findIndex((row) => row.cells.some((cell) => cell.index === this.current));
    const row = rows[Math.max(0, Math.min(rows.length - 1, at + step))];
    if (at < 0 || row === rows[at]) return this.current;
    const cell = rows[at].cells.find((one) => one.index === this.current), middle = cell.left + cell.width / 2;
    return row.cells.reduce((best, one) => Math.abs(one.left + one.width / 2 - middle) < Math.abs(best.left + best.width / 2 - middle) ? one : best).index;
  }
}

