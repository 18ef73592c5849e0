// The query: words and chips in the order of the sentence. Knows the parts of a query; asks nothing itself.

import { button, clear, colours, el, icon, say } from "./dom.js";
import * as api from "./api.js";
import { markPart } from "./mark.js";
import { partOf } from "./part.js";

// A part is {kind: "text", text} | {kind: "entity", text, weight, not}
//   | {kind: "picture", upload | photo | region, shown, width, height, mark, weight, not}
const BRACKET = /(-?)\[([^[\]]+)\](?:\^([0-9]*\.?[0-9]+))?/;
const WEIGHTS = [0.25, 0.5, 1, 2, 4];
const TARGETS = { photos: "Photos", texts: "Texts", both: "Both" };

export class Composer {
  constructor(form, search) {
    this.form = form;
    this.search = search;
    this.parts = [{ kind: "text", text: "" }];
    this.most = 24;
    this.field = el("div", { class: "field", on: { mousedown: (event) => this.#intoField(event) } });
    this.files = el("input", { type: "file", accept: "image/*,.heic,.heif,.avif,.tif,.tiff", multiple: true, hidden: true, tabIndex: -1,
      "aria-label": "Pictures for the query", on: { change: () => { this.addFiles(this.files.files); this.files.value = ""; } } });
    this.phrase = button("Outline", "region", () => this.markPhrase(), { class: "labelled", id: "phrase", title: "Outline these words on every photo, as brackets do (Ctrl E)" });
    this.phrase.addEventListener("mousedown", (event) => event.preventDefault()); // the selection stays
    this.wipe = button("Empty the query", "close", () => { this.set([]); this.search(); }, { quiet: true, id: "wipe" });
    this.switch = el("fieldset", { class: "switch", id: "target", hidden: true }, el("legend", { class: "unseen" }, "Search in"), Object.entries(TARGETS).map(([value, words]) =>
      el("label", {}, el("input", { type: "radio", name: "target", value, on: { change: () => { this.target = value; this.turned?.(); } } }), el("span", {}, words))));
    const inner = el("div", { class: "asks" }, this.field, this.wipe, this.switch, this.phrase,
      button("Picture", "picture", () => this.files.click(), { class: "labelled", id: "add-picture", title: "Add a picture to the query; or drop or paste one" }),
      el("button", { class: "button main", id: "go" }, icon("search"), el("span", {}, "Search")), this.files);
    this.trouble = el("p", { class: "trouble", role: "alert", hidden: true });
    form.append(inner, this.trouble);
    form.addEventListener("submit", (event) => { event.preventDefault(); this.search(); });
    this.#draw();
  }

  // What the server is sent; empty when there is nothing to ask.
  body() {
    return this.parts.flatMap((part) => {
      if (part.kind === "text") return part.text.trim() ? [{ text: part.text.trim() }] : [];
      const more = { ...(part.weight !== 1 ? { weight: part.weight } : {}), ...(part.not ? { not: true } : {}) };
      if (part.kind === "entity") return [{ entity: part.text, ...more }];
      const { upload, photo, region } = part;
      return [{ ...(upload ? { upload } : region ? { region } : { photo }), ...(part.mark || {}), ...more }];
    });
  }

  // What is searched: photos, the texts beside them, or both. The switch is there where there are texts.
  get target() { return this.aim || "photos"; }

  set target(value) {
    this.aim = value in TARGETS ? value : "photos";
    for (const one of this.switch.querySelectorAll("input")) one.checked = one.value === this.aim;
    this.switch.hidden = !this.texts && this.aim === "photos";
  }

  set(parts) {
    this.parts = parts.map((part) => ({ weight: 1, not: false, ...part }));
    this.#draw();
  }

  // Without words and pictures: for history and links.
  saved() {
    return this.parts.filter((part) => part.kind !== "text" || part.text.trim()).map(({ input, ...part }) => part);
  }

  // retry: what "Try again" does, where trying again may help.
  complain(problem, retry) {
    this.trouble.hidden = !problem;
    if (!problem) return;
    const transient = retry && [0, 410, 429, 499, 500, 503].includes(problem.status);
    clear(this.trouble, problem.pointer ? el("pre", {}, problem.pointer) : null, el("span", {}, problem.message), transient ? button("Try again", "undo", retry, { id: "try-again" }) : null);
  }

  addPicture(part, { replace = false } = {}) {
    const fresh = { kind: "picture", weight: 1, not: false, ...part };
    if (replace) return this.set([fresh]);
    if (this.parts.length >= this.most) return say(`a query has at most ${this.most} parts`, "bad");
    const { at, caret } = this.#place();
    const text = this.parts[at];
    this.parts.splice(at, 1, { kind: "text", text: text.text.slice(0, caret) }, fresh, { kind: "text", text: text.text.slice(caret) });
    this.#draw(at + 2);
  }

  async addFiles(files) {
    for (const file of files) {
      const waiting = el("span", { class: "chip waiting" }, "…");
      this.field.append(waiting);
      try {
        const held = await api.upload(file);
        this.addPicture({ upload: held.upload, width: held.width, height: held.height, shown: `api/uploads/${held.upload}`, name: file.name || "pasted picture" });
      } catch (problem) {
        say(`${file.name || "picture"}: ${problem.message}`, "bad");
      }
      waiting.remove();
    }
  }

  // The selected words, or all of a text, become a phrase that wants a mask.
  markPhrase() {
    const at = this.last === undefined ? this.parts.findIndex((part) => part.kind === "text" && part.text.trim()) : this.last;
    const part = this.parts[at];
    if (!part || part.kind !== "text" || !part.text.trim()) return say("write some words first, then select those that want a mask");
    let [from, to] = [part.input.selectionStart, part.input.selectionEnd];
    if (from === to) [from, to] = [0, part.text.length];
    const words = part.text.slice(from, to).trim();
    if (!words) return undefined;
    this.parts.splice(at, 1, { kind: "text", text: part.text.slice(0, from) }, { kind: "entity", text: words, weight: 1, not: false }, { kind: "text", text: part.text.slice(to) });
    return this.#draw(at + 2);
  }

  focus() {
    this.parts.findLast((part) => part.kind === "text").input.focus();
  }

  // --- inside ------------------------------------------------------------------------------

  #place() {
    const at = this.last !== undefined && this.parts[this.last]?.kind === "text" ? this.last : this.parts.length - 1;
    const input = this.parts[at].input;
    return { at, caret: input.selectionEnd ?? input.value.length };
  }

  // Words stand between chips and at both ends, so that one can write anywhere.
  #even() {
    const even = [{ kind: "text", text: "" }];
    for (const part of this.parts) {
      const before = even[even.length - 1];
      if (part.kind === "text" && before.kind === "text") before.text = [before.text, part.text].filter(Boolean).join(" ").replace(/ {2,}/g, " ");
      else even.push(...(part.kind !== "text" && before.kind !== "text" ? [{ kind: "text", text: "" }] : []), part);
    }
    if (even[even.length - 1].kind !== "text") even.push({ kind: "text", text: "" });
    this.parts = even;
  }

  #draw(focus) {
    const removed = this.parts.length;
    this.#even();
    this.last = undefined;
    let number = 0;
    const nodes = this.parts.map((part, at) => part.kind === "text" ? this.#words(part, at) : this.#chip(part, at, number++));
    clear(this.field, nodes);
    const alone = this.parts.length === 1;
    this.parts[0].input.placeholder = alone ? "a dog on a beach — or drop a picture" : "";
    this.field.classList.toggle("alone", alone);
    this.wipe.hidden = alone && !this.parts[0].text;
    if (focus !== undefined) {
      const target = Math.max(0, Math.min(focus - (removed - this.parts.length > 0 ? 1 : 0), this.parts.length - 1));
      const part = this.parts[target].kind === "text" ? this.parts[target] : this.parts[target + 1] || this.parts[target - 1];
      part.input.focus();
      part.input.setSelectionRange(0, 0);
    }
  }

  #words(part, at) {
    const label = this.parts.length === 1 ? "Words of the query" : at === 0 ? "Words before" : at === this.parts.length - 1 ? "Words after" : "Words between";
    part.input = el("input", { type: "text", class: "words", value: part.text, autocomplete: "off", spellcheck: false, maxLength: 1000, "aria-label": label,
      enterKeyHint: "search", on: { input: () => this.#typed(part, at), keydown: (event) => this.#key(event, part, at), focus: () => { this.last = at; } } });
    this.#grow(part.input);
    return part.input;
  }

  #grow(input) {
    input.size = Math.max(1, input.value.length + 1);
  }

  #typed(part, at) {
    part.text = part.input.value;
    this.#grow(part.input);
    this.wipe.hidden = this.parts.length === 1 && !part.text;
    const found = [...this.#brackets(part.text)];
    if (found.length > 1 || (found.length && found[0].kind !== "text")) {
      this.parts.splice(at, 1, ...found);
      this.#draw(at + found.length);
    }
  }

  *#brackets(text) {
    let rest = text, found;
    while ((found = BRACKET.exec(rest))) {
      const [whole, minus, inside, weight] = found;
      const reference = /^\s*(photo|region):\s*([0-9]+(?:\/[0-9]+)?)\s*$/i.exec(inside);
      if (rest.slice(0, found.index)) yield { kind: "text", text: rest.slice(0, found.index) };
      const shared = { weight: Number(weight) || 1, not: minus === "-" };
      if (reference) {
        const id = Number.parseInt(reference[2], 10);
        yield { kind: "picture", ...(reference[1].toLowerCase() === "photo" ? { photo: id } : { region: reference[2] }), shown: api.thumbnail(id), name: `photo ${id}`, ...shared };
      } else yield { kind: "entity", text: inside.trim(), ...shared };
      rest = rest.slice(found.index + whole.length);
    }
    if (rest) yield { kind: "text", text: rest };
  }

  #key(event, part, at) {
    const { selectionStart: from, selectionEnd: to, value } = part.input;
    const chip = (step) => this.field.children[at + step];
    if (event.key === "Backspace" && from === 0 && to === 0 && at > 0) { event.preventDefault(); this.#remove(at - 1); }
    else if (event.key === "ArrowLeft" && from === 0 && to === 0 && at > 0) { event.preventDefault(); chip(-1).focus(); }
    else if (event.key === "ArrowRight" && from === value.length && at < this.parts.length - 1) { event.preventDefault(); chip(1).focus(); }
    else if (event.key.toLowerCase() === "e" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); this.markPhrase(); }
  }

  #remove(at) {
    this.parts.splice(at, 1);
    this.#draw(at);
  }

  #chip(part, at, number) {
    const marked = part.mark ? " part" : part.region ? " region" : "";
    const name = part.kind === "entity" ? part.text : part.name || (part.photo ? `photo ${part.photo}` : "picture");
    const label = `${part.not ? "not " : ""}${part.kind === "entity" ? "phrase" : `picture${marked}`}: ${name}${part.weight !== 1 ? `, weight ${part.weight}` : ""}. Opens its settings.`;
    const chip = el("button", { type: "button", class: `chip of-${part.kind} ${part.not ? "not" : ""}`, vars: colours(number), "aria-label": label, "aria-haspopup": "dialog",
      on: { click: () => this.#menu(part, at, chip), keydown: (event) => this.#chipKey(event, at) } },
      part.kind !== "picture" ? el("span", { class: "dot" }) : part.region ? el("span", { class: "thumb" }, partOf({ ...part, name: "" })) : el("span", { class: "thumb" }, el("img", { src: part.shown, alt: "" }), part.mark ? el("i", {}, icon("region")) : null),
      part.not ? el("b", {}, "not") : null,
      part.kind === "entity" ? el("span", { class: "name" }, name) : null,
      part.weight !== 1 ? el("sub", {}, `×${part.weight}`) : null);
    return chip;
  }

  #chipKey(event, at) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Backspace" || event.key === "Delete") { event.preventDefault(); this.#remove(at); }
    else if (step) {
      event.preventDefault();
      const input = this.parts[at + step].input;
      input.focus();
      input.setSelectionRange(step < 0 ? input.value.length : 0, step < 0 ? input.value.length : 0);
    }
  }

  #menu(part, at, chip) {
    document.querySelector(".menu")?.remove();
    const change = (act) => () => { act(); menu.hidePopover(); this.#draw(); this.again?.(); };
    const move = (step) => change(() => { // over the words beside it
      const [taken] = this.parts.splice(at, 1);
      this.parts.splice(Math.max(0, Math.min(this.parts.length, at + 2 * step)), 0, taken);
    });
    const weight = el("input", { type: "range", min: 0, max: 4, step: 1, value: Math.max(0, WEIGHTS.indexOf(part.weight)), "aria-label": "Weight",
      on: { input: () => { part.weight = WEIGHTS[weight.value]; said.textContent = `×${part.weight}`; }, change: () => this.#repaint(at) } });
    const said = el("output", {}, `×${part.weight}`);
    const not = el("input", { type: "checkbox", checked: part.not, on: { change: () => { part.not = not.checked; this.#repaint(at); } } });
    const words = part.kind === "entity" ? el("input", { type: "text", value: part.text, "aria-label": "Phrase", on: {
      change: () => { if (words.value.trim()) { part.text = words.value.trim(); this.#repaint(at); } } } }) : null;
    const menu = el("div", { class: "menu", popover: "auto", role: "dialog", "aria-label": "Settings of this part" },
      part.kind === "picture" ? el("img", { src: part.shown, alt: part.name || "picture of the query", class: "large" }) : words,
      part.kind === "picture" && !part.region ? button(part.mark ? "Change the part" : "Mark a part…", "box", async () => {
        menu.hidePopover();
        const mark = await markPart(part);
        if (mark !== undefined) { part.mark = mark; this.#draw(); this.search(); }
      }) : null,
      part.mark ? button("Whole picture", "undo", change(() => { part.mark = undefined; })) : null,
      el("label", { class: "line" }, "Weight", weight, said),
      el("label", { class: "line" }, not, "must not be there"),
      part.kind === "entity" ? button("Plain words again", "undo", change(() => { this.parts[at] = { kind: "text", text: part.text }; })) : null,
      el("div", { class: "row" }, button("Move left", "left", move(-1), { quiet: true, disabled: at < 2 }), button("Move right", "right", move(1), { quiet: true, disabled: at > this.parts.length - 3 }),
        button("Remove", "close", () => { menu.hidePopover(); this.#remove(at); this.again?.(); })));
    menu.addEventListener("toggle", (event) => { if (event.newState === "closed") setTimeout(() => menu.remove()); });
    document.body.append(menu);
    menu.showPopover();
    const [place, size] = [chip.getBoundingClientRect(), menu.getBoundingClientRect()];
    menu.style.left = `${Math.max(8, Math.min(place.left, innerWidth - size.width - 8))}px`;
    menu.style.top = `${Math.min(place.bottom + 6, innerHeight - size.height - 8)}px`;
    (words || menu.querySelector("button, input")).focus();
  }

  #repaint(at) { // the chip alone: its menu stays open
    const chips = this.parts.filter((part) => part.kind !== "text");
    const old = this.field.children[at];
    old.replaceWith(this.#chip(this.parts[at], at, chips.indexOf(this.parts[at])));
    this.again?.();
  }

  #intoField(event) {
    if (event.target === this.field) { event.preventDefault(); this.focus(); }
  }
}
