// The page: joins query, filters, photos and viewer. Everything that is asked of the server is asked from here.

import { $, button, clear, colours, count, download, el, later, say, size } from "./dom.js";
import * as api from "./api.js";
import { Composer } from "./compose.js";
import { Filters } from "./filters.js";
import { Grid } from "./grid.js";
import { Ingest } from "./ingest.js";
import { markPart } from "./mark.js";
import { Texts } from "./texts.js";
import { Viewer } from "./viewer.js";
import { partOf } from "./part.js";

const PAGE = 100;
const NOTES = 2; // of an answer that are shown at once
const FORMS = { originals: "Original files (ZIP)", coco: "COCO instances (JSON)", masks: "Masks (PNG in a ZIP)", paths: "List of paths", jsonl: "JSON lines" };
const state = { items: [], search: null, answer: null, next: null, busy: false, chosen: new Set(), masks: true, only: -1, off: new Set(), stacks: true, exact: false, without: false, named: false, at: -1, target: "photos", texts: null, photos: {}, nextTexts: null, looks: new Map() };

const composer = new Composer($("#compose"), () => ask({ push: true }));
composer.turned = () => { filters.texts = composer.target !== "photos"; if (!$("#filters").hidden) filters.open(); drawFilterButton(); ask({ push: true }); };
composer.again = later(() => ask({ push: true }), 400); // a chip was changed
const filters = new Filters($("#filters"), () => { drawFilterButton(); ask({ push: true }); });
const ingest = new Ingest(() => { refreshLibrary(); if (!composer.body().length) ask(); });
const grid = new Grid($("#hits"), {
  open: (index) => open(index), choose: (index, range) => choose(index, range), chosen: (id) => state.chosen.has(id),
  like: (index) => like(state.items[index].photo), more: () => more(), masks: (item, pointed) => shapes(item, pointed) });
const texts = new Texts($("#texts"), { open: (photo) => openPhoto(photo), name: (n) => nameOf(n, state.answer.entities[n]), more: () => moreTexts() });
const viewer = new Viewer({
  step: (by) => state.at < 0 || open(state.at + by), listed: (id) => state.items.some((item) => item.photo.id === id), like, add: (part) => add(part), replace: (part) => add(part, true), chosen: (id) => state.chosen.has(id), choose: (id) => choose(state.items.findIndex((item) => item.photo.id === id)),
  again: (item) => look(item), heat: (item) => api.post("api/heat", { photo: item.photo.id, parts: composer.body() }), name: (n, entity) => nameOf(n, entity), closed: () => grid.focus(state.at),
  other: async (id) => { const photo = await api.get(`api/photos/${id}`); viewer.show({ photo }, { search: null, first: true, last: true }); },
  mark: async (photo, dialog) => {
    const part = { kind: "picture", photo: photo.id, shown: api.thumbnail(photo.id), name: photo.name, width: photo.width, height: photo.height };
    const mark = await markPart(part);
    if (mark === undefined) return;
    dialog.close();
    add({ ...part, mark: mark || undefined });
  } });

// --- asking ----------------------------------------------------------------------------------

let asking = null;
async function ask({ push = false, scroll = 0 } = {}) {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  const parts = composer.body(), limits = filters.body();
  if (push) remember();
  composer.complain(null);
  document.body.classList.add("busy");
  Object.assign(state, { busy: true, only: -1, off: new Set(), looks: new Map() });
  try {
    if (parts.length) {
      const began = performance.now();
      state.named = composer.parts.some((part) => (part.photo || part.region) && !part.not);
      const aim = composer.target === "photos" ? {} : { target: composer.target, text_kinds: filters.kinds };
      const answer = await api.post("api/search", { parts, filters: limits, limit: PAGE, ...aim, stacks: state.stacks, ...(state.exact ? { ground: "exact" } : {}), ...(state.without && state.named ? { exclude_self: true } : {}) }, signal);
      Object.assign(state, { answer, search: answer.search, next: answer.next, target: composer.target, texts: answer.texts, photos: answer.photos, nextTexts: answer.next_texts, items: answer.hits.map((hit) => ({ photo: hit.photo, hit })), took: performance.now() - began });
    } else {
      const listed = await api.get(browsing(limits), signal);
      Object.assign(state, { answer: null, search: null, target: "photos", texts: null, next: listed.next, total: listed.total, items: listed.photos.map((photo) => ({ photo })) });
    }
    const there = new Set(state.items.map((item) => item.photo.id));
    for (const id of state.chosen) if (!there.has(id)) state.chosen.delete(id);
    show(true);
    await scrollBack(scroll);
  } catch (problem) {
    if (problem.name !== "AbortError") composer.complain(problem, () => ask());
  }
  if (!signal.aborted) { state.busy = false; document.body.classList.remove("busy"); grid.draw(); }
}

function browsing(limits, cursor = 0) {
  const words = new URLSearchParams({ limit: PAGE, cursor });
  for (const [name, value] of Object.entries(limits)) for (const one of [value].flat()) words.append(name, one);
  return `api/photos?${words}`;
}

// To where the page was before the browser went away from it: further hits are fetched as far as they are needed.
async function scrollBack(to) {
  while (to > document.body.scrollHeight - innerHeight && state.next !== null && !asking.signal.aborted) {
    state.busy = false;
    await more();
  }
  if (to) scrollTo(0, to);
}

async function more() {
  if (state.busy || state.next === null) return;
  state.busy = true;
  const { search, answer, next } = state;
  try {
    if (search) {
      const page = await api.get(`api/search?cursor=${encodeURIComponent(next)}&limit=200`);
      if (state.search !== search) return;
      for (const [id, ids] of Object.entries(page.stacked)) state.items.find((item) => item.photo.id === Number(id))?.hit.stack.push(...ids);
      state.next = page.next;
      state.items = state.items.concat(page.hits.map((hit) => ({ photo: hit.photo, hit })));
    } else {
      const page = await api.get(browsing(filters.body(), next));
      if (state.answer !== answer || state.search) return;
      state.next = page.next;
      state.items = state.items.concat(page.photos.map((photo) => ({ photo })));
    }
    show();
  } catch (problem) {
    if (problem.status === 410) return renew();
    state.next = null;
    clear($("#end"), `${problem.message} `, button("Try again", "undo", () => { state.next = next; clear($("#end")); more(); }));
  } finally { state.busy = false; }
}

async function moreTexts() {
  const { search, nextTexts } = state;
  if (nextTexts === null || state.fetching) return;
  state.fetching = true;
  try {
    const page = await api.get(`api/search?cursor=${encodeURIComponent(nextTexts)}&limit=${PAGE}`);
    if (state.search !== search) return;
    Object.assign(state, { nextTexts: page.next_texts, texts: state.texts.concat(page.texts), photos: { ...state.photos, ...page.photos } });
    show();
  } catch (problem) {
    if (problem.status === 410) return renew();
    state.nextTexts = null;
    say(problem.message, "bad");
    show();
  } finally { state.fetching = false; }
}

// The server does not hold the search any more: it is asked again, and the page stays where it is.
async function renew() {
  await ask({ scroll: scrollY });
  say("The search was made again: the server had let it go.");
}

// A piece of a search; when the search is not held any more, of the search that is made in its place.
async function held(act) {
  const { search } = state;
  try { return await act(); } catch (problem) {
    if (problem.status !== 410 || !search) throw problem;
    if (state.search === search) await (state.renewing ||= renew().finally(() => { state.renewing = null; }));
    return act();
  }
}

function show(reset = false) {
  grid.show(state.items, { captions: Boolean(state.answer), cutoff: state.answer?.cutoff, reset });
  texts.show({ texts: state.texts, photos: state.photos, few: state.target === "both", ended: state.nextTexts === null, reset });
  $("#photos-heading").hidden = state.target !== "both";
  document.body.classList.toggle("only-texts", state.target === "texts");
  facts();
  drawSelection();
  $("#end").textContent = state.target === "texts" ? (state.texts.length ? "" : `No text ${filters.count ? "passes the filters" : "was found"}.`) : !state.items.length ? nothing() : state.next === null && state.items.length > 20 ? "That is all." : "";
}

function nothing() {
  if (state.answer) return filters.count ? "No photo passes the filters." : "No photo was searched: the index is empty.";
  return filters.count ? "No photo passes the filters." : "There are no photos yet. Take some in with the button above.";
}

// How many of the hits so far are meant; those stand first. Texts are ranked, and none of them is said to be meant.
function counted() {
  const told = state.texts ? `${count(state.texts.length, "text")}, the nearest first${state.nextTexts ? ", so far" : ""}` : "";
  return state.target === "texts" ? told : [countedPhotos(), told].filter(Boolean).join(" · ");
}

function countedPhotos() {
  const meant = state.items.filter((item) => item.hit.meant).length, more = state.items.length - meant;
  const far = state.next ? " so far" : "";
  if (!state.items.length) return "No photo was searched";
  if (!meant) return `Nothing here matches well; ${more === 1 ? "this is" : `these ${more.toLocaleString("en")} are`} the nearest${far}`;
  return `${count(meant, "photo")} ${meant === 1 ? "matches" : "match"}${more ? `; ${more.toLocaleString("en")} more ${more === 1 ? "is" : "are"} near` : ""}${far}`;
}

// What was asked, in its colours; and what can be done with all hits.
function facts() {
  const { answer } = state;
  if (!answer) {
    clear($("#facts"), state.items.length && !filters.count ? welcome() : null);
    return;
  }
  const toggle = (label, name, on, act) => button(label, name, act, { "aria-pressed": String(on) });
  const only = (n) => { state.only = n; grid.refresh(); texts.light(state.off, n); };
  const legend = answer.entities.map((entity, n) => el("li", {}, el("button", { type: "button", class: "entity", vars: colours(n), "aria-pressed": String(!state.off.has(n)), title: state.target === "texts" ? "Point: these phrases alone. Click: show or hide them." : "Point: these masks alone. Click: show or hide them.",
    on: { pointerenter: () => only(n), pointerleave: () => only(-1), focus: () => only(n), blur: () => only(-1),
      click: (event) => { const off = state.off; off.has(n) ? off.delete(n) : off.add(n); event.currentTarget.setAttribute("aria-pressed", String(!off.has(n))); only(-1); } } },
  el("i", { class: "dot" }), entity.negative ? el("b", {}, "not") : null, el("span", {}, nameOf(n, entity)))));
  clear($("#facts"), el("div", { class: "facts" },
    legend.length ? el("ul", { class: "legend", "aria-label": state.target === "texts" ? "What lit phrases are for" : "What masks are for" }, legend) : null,
    el("span", { class: "grow" }),
    state.target === "texts" ? null : [toggle("Masks", "region", state.masks, (event) => { state.masks = !state.masks; event.currentTarget.setAttribute("aria-pressed", String(state.masks)); grid.refresh(); }),
    toggle("Look closely", "eye", state.exact, () => { state.exact = !state.exact; ask(); }),
    toggle("Stacks", "stack", state.stacks, () => { state.stacks = !state.stacks; ask(); }),
    state.named ? toggle("Leave out its photo", "without", state.without, () => { state.without = !state.without; ask(); }) : null,
    button("Export", "export", (event) => exportMenu(event.currentTarget))]),
  el("p", { class: "soft small", id: "counted" }, el("strong", {}, counted()), state.target === "texts" ? null : ` · ${answer.path === "exact" ? "every photo was scored" : "the nearest were scored"}`, ` · ${Math.round(state.took)} ms`),
  notes(answer.notes.map(inWords)));
}

// A note with the names of pictures as the page shows them, in place of how a query is written.
function inWords(note) {
  return state.answer.entities.reduce((words, entity, n) => entity.text.startsWith("[") ? words.replaceAll(entity.text, nameOf(n, entity)) : words, note);
}

// What the user should know; a long query may give many notes, of which the first stand for the rest.
function notes(every) {
  const shown = every.length > NOTES + 1 ? NOTES : every.length, line = (note) => el("p", { class: "note small" }, note);
  const rest = every.slice(shown);
  return [every.slice(0, shown).map(line), rest.length ? el("details", { class: "notes small" }, el("summary", { class: "soft" }, `${rest.length} more notes`), rest.map(line)) : null];
}

// What a first visitor can do, as three things to click; they are made of the photos at hand.
function welcome() {
  const box = el("section", { class: "welcome", "aria-label": "What you can ask" },
    el("p", { class: "lead" }, "Describe the photo you look for. Words in ", el("b", {}, "[brackets]"), " are outlined on every photo that is found."),
    el("ul", { class: "examples" }));
  const list = $("ul", box);
  const example = (title, words, parts, ...shown) => list.append(el("li", {}, el("button", { type: "button", class: "example", on: { click: () => { composer.set(parts); ask({ push: true }); scrollTo(0, 0); } } },
    el("span", { class: "shown" }, shown), el("b", {}, title), el("span", { class: "soft small" }, words))));
  const draw = ({ words, photo, region }) => {
    const phrase = words || "a dog";
    example("Search by words", "The bracket asks for an outline.", [{ kind: "entity", text: phrase }, { kind: "text", text: "outdoors" }], el("span", { class: "chip", vars: colours(0) }, el("span", { class: "dot" }), phrase), " outdoors");
    if (photo) {
      const picture = { kind: "picture", photo: photo.id, shown: api.thumbnail(photo.id), name: photo.name, width: photo.width, height: photo.height };
      example("A picture in the sentence", "Drop or paste your own, too.", [{ kind: "text", text: "like" }, picture, { kind: "text", text: "at night" }], "like ", el("img", { src: picture.shown, alt: photo.name }), " at night");
    }
    if (region) {
      const id = Number.parseInt(region.region, 10), part = { kind: "picture", region: region.region, shown: api.thumbnail(id), name: `part of photo ${id}` };
      example("Only a part of a picture", "Click a thing in any photo.", [part], partOf(part));
    }
  };
  examples ||= api.get("api/examples").catch(() => ({}));
  examples.then(draw);
  return box;
}
let examples = null;

function nameOf(n, entity) {
  if (!entity.text.startsWith("[")) return entity.text;
  const part = composer.parts.filter((one) => one.kind !== "text")[n];
  return part?.name ? `${part.mark || part.region ? "part of " : ""}${part.name.replace(/^part of /, "")}` : "the picture";
}

// Masks of what the answer claims: of hits that are meant, dotted where an entity is doubtful. Others show when pointed at.
async function shapes(item, pointed) {
  if (!state.search || !state.masks || !item.hit?.entities.some((entity) => entity.regions.length)) return [];
  const found = await held(() => api.masksOf(state.search, item.photo.id));
  return found.flatMap((masks, n) => {
    const entity = item.hit.entities[n];
    const alone = state.only === n, beside = state.only >= 0 && !alone;
    if (!alone && (state.off.has(n) || !(item.hit.meant || pointed))) return [];
    return masks.map((rle) => ({ rle, n, look: beside ? "faint" : !entity.present ? "doubtful" : alone ? "strong" : "there" }));
  });
}

async function look(item) {
  const key = `${state.search}/${item.photo.id}`;
  if (!state.looks.has(key)) state.looks.set(key, api.post("api/ground", { photo: item.photo.id, parts: composer.body() }));
  return state.looks.get(key);
}

// --- acts ------------------------------------------------------------------------------------

function open(index) {
  if (index < 0 || index >= state.items.length) return;
  state.at = index;
  viewer.show(state.items[index], { search: state.search, first: index === 0, last: index === state.items.length - 1 && state.next === null });
  if (index > state.items.length - 5) more();
}

// A photo that a text shows: beside the hits, or among them.
function openPhoto(photo) {
  const item = state.items.find((one) => one.photo.id === photo.id) || { photo };
  state.at = -1;
  viewer.show(item, { search: item.hit ? state.search : null, first: true, last: true });
}

function like(photo) {
  add({ photo: photo.id, shown: api.thumbnail(photo.id), name: photo.name, width: photo.width, height: photo.height }, true);
}

function add(part, replace = false) {
  composer.addPicture(part, { replace });
  ask({ push: true });
  scrollTo({ top: 0 });
}

// With `range`, all from the one chosen last to this one.
function choose(index, range = false) {
  const { id } = state.items[index].photo;
  const from = range && state.last >= 0 && state.last < state.items.length ? state.last : index;
  if (from === index) state.chosen.has(id) ? state.chosen.delete(id) : state.chosen.add(id);
  else for (const item of state.items.slice(Math.min(from, index), Math.max(from, index) + 1)) state.chosen.add(item.photo.id);
  state.last = index;
  selected();
}

function selected() {
  document.body.classList.toggle("selecting", state.chosen.size > 0);
  grid.refresh();
  drawSelection();
}

function drawSelection() {
  const box = $("#selection"), many = state.chosen.size;
  box.hidden = !many;
  document.body.classList.toggle("selecting", many > 0);
  if (many) clear(box, el("strong", {}, `${many} selected`), button(`All ${state.items.length}`, "check", () => { for (const item of state.items) state.chosen.add(item.photo.id); selected(); }, { title: "Select every photo that was shown so far" }),
    button("Export", "export", (event) => exportMenu(event.currentTarget)), button("Clear", null, () => { state.chosen.clear(); selected(); }));
}

// What is exported: the selection, else all that was shown so far.
function exported() {
  const chosen = state.items.filter((item) => state.chosen.has(item.photo.id));
  return chosen.length ? chosen : state.items;
}

async function exportAs(form) {
  const photos = exported().map((item) => item.photo);
  try {
    if (form === "originals") return await originals(photos.map((photo) => photo.id));
    if (!state.search) return download(new Blob(photos.map((photo) => `${photo.path}\n`), { type: "text/plain" }), "paths.txt");
    const chosen = state.chosen.size ? photos.map((photo) => photo.id) : [];
    const { blob, name } = await held(() => api.file("api/export", { search: state.search, photos: chosen, form }));
    download(blob, name);
    return say(`${name} was written`);
  } catch (problem) { return say(problem.message, "bad"); }
}

// The browser fetches the ZIP by itself, straight to the disk: it may be larger than a page can hold.
async function originals(photos) {
  const asked = await api.post("api/originals", { photos });
  el("a", { href: api.archive(asked.download), download: "photos.zip" }).click();
  const gone = asked.gone.length ? `; ${count(asked.gone.length, "file")} ${asked.gone.length === 1 ? "is" : "are"} gone and left out` : "";
  say(`${count(asked.photos, "file")}, ${size(asked.bytes)}${gone}`, gone ? "bad" : "");
}

function exportMenu(anchor) {
  document.querySelector(".menu")?.remove();
  const many = exported().length, forms = state.search ? Object.keys(FORMS) : ["originals", "paths"]; // masks belong to a search
  const menu = el("div", { class: "menu", popover: "auto", role: "dialog", "aria-label": "Export" }, el("p", { class: "soft" }, state.chosen.size ? count(many, "selected photo") : `all ${count(many, "photo")} so far`),
    forms.map((form) => button(FORMS[form], null, () => { menu.hidePopover(); exportAs(form); }, { data: { form } })));
  menu.addEventListener("toggle", (event) => { if (event.newState === "closed") setTimeout(() => menu.remove()); });
  document.body.append(menu);
  menu.showPopover();
  const [place, size] = [anchor.getBoundingClientRect(), menu.getBoundingClientRect()];
  menu.style.left = `${Math.max(8, Math.min(place.left, innerWidth - size.width - 8))}px`;
  menu.style.top = `${place.bottom + size.height + 14 < innerHeight ? place.bottom + 6 : Math.max(8, place.top - size.height - 6)}px`;
  menu.querySelector("button").focus();
}

// --- around it -------------------------------------------------------------------------------

function remember() {
  history.replaceState({ scroll: scrollY }, "");
  const { target } = composer, saved = { parts: composer.saved(), filters: filters.values, ...(target === "photos" ? {} : { target }) };
  const plain = saved.parts.length || filters.count || saved.target ? `#q=${encodeURIComponent(JSON.stringify(saved))}` : location.pathname;
  if (plain !== location.hash) history.pushState(null, "", plain);
}

// The query of the address, at the place to which it was scrolled.
function recall(place = history.state) {
  let saved = { parts: [], filters: {} };
  try { if (location.hash.startsWith("#q=")) saved = JSON.parse(decodeURIComponent(location.hash.slice(3))); } catch { /* a link that was cut off */ }
  composer.set(Array.isArray(saved.parts) ? saved.parts : []);
  aimAt(saved.target);
  filters.set(saved.filters || {});
  drawFilterButton();
  return ask({ scroll: place?.scroll || 0 });
}

function aimAt(target) {
  composer.target = target;
  filters.texts = composer.target !== "photos";
}

const THEMES = ["auto", "light", "dark"];
function theme(next) {
  const now = next || localStorage.getItem("theme") || "auto";
  document.documentElement.dataset.theme = now;
  localStorage.setItem("theme", now);
}

const filterButton = button("Filters", "filter", async () => { await filters.toggle(); drawFilterButton(); }, { id: "filter-button", "aria-expanded": "false" });
function drawFilterButton() {
  $("span", filterButton).textContent = filters.count ? `Filters (${filters.count})` : "Filters";
  filterButton.setAttribute("aria-expanded", String(!$("#filters").hidden));
}

async function refreshLibrary() {
  const status = await api.get("api/status");
  composer.most = status.limits.parts;
  composer.texts = status.texts.passages > 0;
  aimAt(composer.target); // the switch is there where there are texts
  $("#library").textContent = count(status.photos - 0, "photo");
}

const KEYS = [["/", "to the query"], ["Enter", "search"], ["Ctrl E", "ask for a mask of the selected words"], ["arrows", "from photo to photo"], ["Enter", "open the photo"], ["m", "more like this"], ["x", "select"], ["r", "in a photo: all its parts"], ["Esc", "close"]];
function help() {
  const dialog = el("dialog", { class: "sheet", "aria-label": "Help", on: { close: () => dialog.remove() } }, el("header", {}, el("h2", {}, "How to ask"), button("Close", "close", () => dialog.close(), { quiet: true })),
    el("div", { class: "body" }, el("p", {}, "Write what the photo shows. Put what you want to see masked in brackets: ", el("code", {}, "[a dog] on a beach"), ". A minus before a bracket keeps things out: ", el("code", {}, "-[a person]"), "."),
      el("p", {}, "Drop, paste or add a picture anywhere in the sentence; click it to mark the part that is meant. In a photo, click a part to search for more like it."),
      composer.texts ? el("p", {}, "Captions, notes and pages beside your photos are searched by the switch: Texts, or Both.") : null,
      el("dl", { class: "keys" }, KEYS.flatMap(([key, words]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, words)])), el("p", {}, el("a", { href: "docs" }, "The same for programs: the REST API"))));
  document.body.append(dialog);
  dialog.showModal();
}

function token() {
  if ($("#token-dialog")) return;
  const input = el("input", { type: "password", autocomplete: "current-password", id: "token", required: true });
  const trouble = el("p", { class: "trouble", role: "alert" });
  const dialog = el("dialog", { id: "token-dialog", class: "sheet", "aria-label": "Token", on: { cancel: (event) => event.preventDefault() } }, el("header", {}, el("h2", {}, "This server wants its token")),
    el("form", { class: "body column", on: { submit: async (event) => {
      event.preventDefault();
      try { await api.enter(input.value); dialog.close(); dialog.remove(); start(); } catch (problem) { trouble.textContent = problem.message; input.select(); }
    } } }, el("label", {}, el("span", {}, "Token"), input), trouble, el("button", { class: "button main" }, "Open")));
  document.body.append(dialog);
  dialog.showModal();
}

clear($("#actions"), filterButton, button("Add photos", "add", () => ingest.open(), { id: "ingest-button" }),
  button("Larger or smaller photos", "size", () => { grid.size = { 220: 320, 320: 140, 140: 220 }[grid.size]; grid.layout(); }, { quiet: true, id: "size" }),
  button("Light or dark", "theme", () => { const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % 3]; theme(next); say(`${next} colours`); }, { quiet: true }),
  button("Help", "help", help, { quiet: true, id: "help" }));

history.scrollRestoration = "manual";
addEventListener("popstate", (event) => recall(event.state));
addEventListener("pagehide", () => history.replaceState({ scroll: scrollY }, ""));
addEventListener("scroll", later(() => history.replaceState({ scroll: scrollY }, ""), 200), { passive: true });
api.wants.addEventListener("token", token);
addEventListener("keydown", (event) => { if (event.key === "/" && !event.target.matches("input, textarea, select") && !document.querySelector("dialog[open]")) { event.preventDefault(); composer.focus(); } });
addEventListener("paste", (event) => { const files = [...event.clipboardData.files]; if (files.length) { event.preventDefault(); composer.addFiles(files); } });
addEventListener("dragover", (event) => { if ([...event.dataTransfer.types].some((type) => type === "Files" || type === "application/x-photo")) { event.preventDefault(); document.body.classList.add("dropping"); } });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
addEventListener("drop", (event) => {
  document.body.classList.remove("dropping");
  const id = Number(event.dataTransfer.getData("application/x-photo"));
  if (!id && !event.dataTransfer.files.length) return;
  event.preventDefault();
  const known = state.items.find((item) => item.photo.id === id);
  if (known) composer.addPicture({ photo: id, shown: api.thumbnail(id), name: known.photo.name, width: known.photo.width, height: known.photo.height });
  else composer.addFiles(event.dataTransfer.files);
});
$("#home").addEventListener("click", (event) => { event.preventDefault(); composer.set([]); aimAt("photos"); filters.set({}); drawFilterButton(); ask({ push: true }); });

async function start() {
  theme();
  const session = await api.get("api/session");
  if (session.needed && !session.open) { token(); return; }
  await Promise.all([refreshLibrary().catch((problem) => say(problem.message, "bad")), recall()]);
  document.documentElement.dataset.ready = "yes";
  performance.mark("ready");
}
start().catch((problem) => composer.complain(problem, () => location.reload()));
