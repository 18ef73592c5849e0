// Texts beside the photos: their words with pictures in their places, the phrases that answer the query, its own words.
// Whatever a text holds is put in as text, never as HTML.

import { button, clear, colours, count, el } from "./dom.js";
import * as api from "./api.js";

const PICTURE = "\ufffc"; // stands in a text where a picture stands
const AT_ONCE = 3, STEP = 12; // texts above the photos, and how many more of them a click shows
const WEAK = 0.5; // of the best score of an entity among the texts: a phrase below is only the nearest one there
const HIGH = 64; // pixels of a picture among words
const KINDS = { embedded: "in the photo's file", xmp: "XMP sidecar", txt: "text file", takeout: "Google Takeout", captions: "captions file", markdown: "Markdown page", html: "HTML page" };
export const kindOf = (kind) => KINDS[kind] || kind;

// Letters without case and accents, and without the endings that an English word may change.
const fold = (word) => word.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
const stem = (word) => fold(word).replace(/(?<=.{3})(ies|es|s|ed|ing|y|e)$/u, "");

// Words with those of the query marked, and with what stands at the picture marks.
function* words(text, wanted, picture) {
  let end = 0;
  for (const found of text.matchAll(/\ufffc|[\p{L}\p{N}\p{M}]+/gu)) {
    const [piece] = found;
    if (piece !== PICTURE && !wanted.has(stem(piece))) continue;
    yield text.slice(end, found.index);
    yield piece === PICTURE ? picture() : el("span", { class: "asked" }, piece);
    end = found.index + piece.length;
  }
  yield text.slice(end);
}

function pictureOf(id, { photos, open, here }) {
  const photo = id === null ? null : photos[id];
  if (!photo) return el("span", { class: "soft" }, "[a picture that is not in the index]");
  const wide = Math.round(HIGH * Math.min(2.2, Math.max(0.6, photo.width / photo.height)));
  const image = el("img", { src: api.thumbnail(id), alt: id === here ? "this photo" : "", width: wide, height: HIGH, loading: "lazy",
    on: { error: () => image.replaceWith(el("span", { class: "gone" }, photo.name)) } });
  if (id === here) return el("span", { class: "inline here", title: "this photo" }, image);
  return el("button", { type: "button", class: "inline", "aria-label": `Open ${photo.name}`, title: photo.name, on: { click: () => open(photo) } }, image);
}

// The words of a passage. shown: {photos, open(photo), here: id of the photo beside it, entities: phrases, words, name(n), weak(phrase)}.
export function written(passage, shown) {
  const letters = [...passage.text], wanted = new Set((shown.words || []).map(stem)); // spans count letters, not UTF-16
  const slice = (from, to) => letters.slice(from, to).join("");
  let pictures = 0;
  const plain = (text) => [...words(text, wanted, () => pictureOf(passage.pictures[pictures++] ?? null, shown))];
  const lit = new Map(); // phrases do not overlap, but several entities may be answered by one
  for (const phrase of shown.entities || []) if (phrase.span) lit.set(phrase.span.join(), [...(lit.get(phrase.span.join()) || []), phrase]);
  const nodes = [];
  let end = 0;
  for (const group of [...lit.values()].sort((one, other) => one[0].span[0] - other[0].span[0])) {
    const [from, to] = group[0].span;
    nodes.push(plain(slice(end, from)));
    nodes.push(group.reduceRight((inner, phrase) => [el("mark", { class: `lit ${shown.weak(phrase) ? "weak" : ""}`, vars: colours(phrase.entity), data: { n: phrase.entity }, title: shown.name(phrase.entity) }, inner)], plain(slice(from, to))));
    end = to;
  }
  nodes.push(plain(slice(end)));
  const about = passage.photos.filter((id) => !passage.pictures.includes(id) && id !== shown.here && shown.photos[id]);
  return [el("p", { class: "words-of", dir: "auto", lang: passage.language || undefined }, nodes),
    about.length ? el("p", { class: "about" }, about.map((id) => pictureOf(id, shown))) : null];
}

// Where a text comes from; its title goes before the name of its file.
export const source = (passage) => el("span", { title: passage.path || "" }, passage.title ? `${passage.name}, ${kindOf(passage.kind)}` : kindOf(passage.kind));

// What spoke for a hit, in one line: {label, words}; a long text begins near the first word that was asked for.
export function spoke({ passage, words: held }) {
  if (!passage) return { label: "name", words: held.join(", ") };
  const text = passage.text.replaceAll(PICTURE, " ").replace(/\s+/g, " ").trim(), wanted = new Set(held.map(stem));
  const first = [...text.matchAll(/[\p{L}\p{N}\p{M}]+/gu)].find(([word]) => wanted.has(stem(word)));
  const from = first && first.index > 24 ? text.lastIndexOf(" ", first.index - 12) + 1 : 0;
  return { label: "text", words: from > 0 ? `… ${text.slice(from)}` : text };
}

export class Texts {
  // acts: {open(photo), name(n) -> of an entity, more(): further texts are wanted}
  constructor(section, acts) {
    this.section = section;
    this.acts = acts;
    this.list = el("ol", { class: "texts", "aria-label": "Texts, the nearest first" });
    this.further = button("More texts", "down", () => this.#more(), { id: "more-texts" });
    section.append(el("h2", {}, "Texts"), this.list, el("p", { class: "further" }, this.further));
    this.near = new IntersectionObserver(([seen]) => { if (seen.isIntersecting && !this.few) this.#more(); }, { rootMargin: "900px" });
  }

  // texts: hits, or null where none were asked for; few: photos stand below them; ended: there are no others.
  show({ texts, photos, few, ended, reset }) {
    Object.assign(this, { texts, photos, few, ended });
    this.section.hidden = !texts;
    if (!texts) return;
    this.section.classList.toggle("beside", few);
    if (reset) this.best = texts.flatMap((hit) => hit.entities).reduce((best, { entity, score }) => best.set(entity, Math.max(score, best.get(entity) ?? 0)), new Map());
    if (reset) { this.lights = [new Set(), -1]; this.shown = few ? AT_ONCE : Infinity; clear(this.list); }
    this.#fill();
  }

  // Which entities are lit: not those that are off, and one alone where there is one.
  light(off, only) {
    this.lights = [off, only];
    for (const mark of this.list.querySelectorAll(".lit, .answers li")) mark.classList.toggle("off", only >= 0 ? Number(mark.dataset.n) !== only : off.has(Number(mark.dataset.n)));
  }

  #fill() {
    for (let at = this.list.children.length; at < Math.min(this.shown, this.texts.length); at++) this.list.append(this.#card(this.texts[at]));
    this.light(...this.lights);
    this.further.hidden = this.ended && this.shown >= this.texts.length;
    this.near.disconnect(); // it tells of changes: a button that is still near is looked at anew
    this.near.observe(this.further);
  }

  #more() {
    if (!this.texts?.length) return;
    if (this.few) { this.shown += STEP; this.#fill(); }
    if (this.shown >= this.texts.length && !this.ended) this.acts.more();
  }

  #card({ passage, entities, words: held, rank, score }) {
    const weak = (phrase) => phrase.score <= WEAK * this.best.get(phrase.entity);
    const shown = { photos: this.photos, open: this.acts.open, entities, words: held, name: this.acts.name, weak };
    const title = passage.title || passage.name, wanted = new Set(held.map(stem)), letters = [...passage.text];
    return el("li", { class: "passage" }, el("h3", { dir: "auto", lang: (passage.title && passage.language) || undefined }, [...words(title, wanted, () => "")]),
      el("p", { class: "soft small", title: `rank ${rank}, score ${score.toFixed(3)}` }, source(passage)), written(passage, shown),
      entities.length ? el("ul", { class: "answers small", "aria-label": "Phrases that answer" }, entities.map((phrase) => el("li", { vars: colours(phrase.entity), data: { n: phrase.entity }, title: phrase.span ? `score ${phrase.score.toFixed(2)}` : "" },
        el("i", { class: `dot ${phrase.span && !weak(phrase) ? "" : "absent"}` }), el("span", { class: "soft" }, `${this.acts.name(phrase.entity)}:`),
        phrase.span ? el("span", { class: weak(phrase) ? "soft" : "" }, `${weak(phrase) ? "nearest is " : ""}“${letters.slice(...phrase.span).join("")}”`) : el("span", { class: "soft" }, "no phrase")))) : null);
  }
}

// The texts of one photo, for its viewer: sources and words, those that spoke for the hit first.
export function textsOf({ texts, photos, total }, { here, match, open }) {
  const speaks = (passage) => passage.id === match?.passage?.id;
  const rows = [...texts].sort((one, other) => speaks(other) - speaks(one)).map((passage) => el("li", { class: "told" },
    el("p", { class: "soft small" }, passage.title ? el("b", {}, `${passage.title} · `) : null, source(passage), speaks(passage) ? " · spoke for this hit" : null),
    written(passage, { photos, open, here, words: match?.words, name: () => "" })));
  const line = match && !match.passage ? el("p", { class: "soft small" }, `The name of the file or of a folder holds ${match.words.join(", ")}.`) : null;
  if (!rows.length && !line) return null;
  return el("section", { id: "texts-of" }, el("h3", {}, rows.length ? count(total, "text") : "Texts"), line, el("ul", {}, rows.slice(0, 4)),
    rows.length > 4 ? el("details", { class: "small" }, el("summary", { class: "soft" }, `${rows.length - 4} more`), el("ul", {}, rows.slice(4))) : null,
    total > texts.length ? el("p", { class: "soft small" }, `${(total - texts.length).toLocaleString("en")} further ones are not shown`) : null);
}
