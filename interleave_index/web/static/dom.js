// Elements, icons, colours and small words. Knows no server. Nothing here parses HTML.

import { INKS, PALETTE } from "./colours.js";

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14M16.2 16.2 21 21",
  picture: "M4 5h16v14H4zM4 16l4.5-4.5 4 4L16 12l4 4M15.5 8.8h.01",
  filter: "M4 6h16M7 12h10M10 18h4",
  add: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  check: "M5 12.5l4.5 4.5L19 7.5",
  left: "M14.5 5.5L8 12l6.5 6.5",
  right: "M9.5 5.5L16 12l-6.5 6.5",
  like: "M5 5h9v9H5zM10 17v2h9v-9h-2",
  region: "M8 4H4v4M16 4h4v4M8 20H4v-4M16 20h4v-4M9 12.5c0-2 1.4-3.5 3.2-3.5S15 10 15 11.6 13.8 15 12 15s-3-.9-3-2.5z",
  box: "M5 6h14v12H5z",
  point: "M12 4v5M12 15v5M4 12h5M15 12h5",
  brush: "M19 4l-8.5 9.5M10.5 13.5c-3-.6-4.5 1-4.5 3.2 0 1.2-.8 1.9-2 2.3 3.5 1.6 8 .4 8-3.2 0-1-.5-1.8-1.5-2.3z",
  export: "M12 4v11M7.5 10.5L12 15l4.5-4.5M5 19h14",
  theme: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
  help: "M9.2 9.2c0-1.7 1.2-2.9 2.9-2.9s2.8 1.1 2.8 2.6c0 2.2-2.9 2.4-2.9 4.7M12 17.4h.01",
  eye: "M3 12c2.2-4 5.3-6 9-6s6.800 2 9 6c-2.200 4-5.300 6-9 6s-6.800-2-9-6zM12 9.300a2.700 2.700 0 1 0 0 5.400 2.700 2.700 0 0 0 0-5.400z",
  undo: "M8 5L4 9l4 4M4 9h9a6 6 0 0 1 0 12h-3",
  down: "M6 9.500l6 6 6-6",
  fire: "M12 20c-3.600 0-6-2.300-6-5.500 0-3.300 2.700-4.700 3.200-9.500 3.300 1.500 4 4 3.800 6 1-.4 1.600-1.200 1.800-2.300 2.200 1.600 3.200 3.700 3.200 5.800 0 3.200-2.400 5.500-6 5.500z",
  size: "M4 4h7v7H4zM4 15h3v5H4zM11 15h4v5h-4zM15 4h5v7h-5z",
  stack: "M8 8h12v12H8zM5 16V5h11",
  without: "M4 5h16v14H4zM4 21L20 3",
};

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

// el("button", {class: "x", on: {click}, vars: {c: "#fff"}, "aria-label": "…"}, child, …)
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (name === "vars") for (const [key, of] of Object.entries(value)) node.style.setProperty(`--${key}`, of);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name in node && !name.includes("-") && name !== "list" && name !== "popover") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function button(label, name, act, props = {}) {
  const { class: more = "", quiet = false, ...rest } = props;
  const said = quiet ? { "aria-label": label, title: label } : {};
  return el("button", { type: "button", class: `button ${quiet ? "quiet" : ""} ${more}`, on: { click: act }, ...said, ...rest },
    name ? icon(name) : null, quiet ? null : el("span", {}, label));
}

export const $ = (selector, from = document) => from.querySelector(selector);

export function clear(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const percent = (share) => `${Math.round(100 * Math.min(1, Math.max(0, share)))} %`;
export const size = (bytes) => `${Math.max(0.1, bytes / 2 ** 20).toLocaleString("en", { maximumFractionDigits: bytes < 10 * 2 ** 20 ? 1 : 0 })} MiB`;
export const likely = (entity) => `${percent(entity.probability)} likely to be there, score ${entity.score.toFixed(2)}`;
export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

// Colours of entities by their position.
export const colour = (n) => PALETTE[n % PALETTE.length];
export const css = (n) => `rgb(${colour(n).join(" ")})`;
export const colours = (n) => ({ c: css(n), k: INKS[n % INKS.length] });

let timer = 0;
export function say(words, kind = "") {
  const box = $("#said");
  box.className = `said ${kind}`;
  clear(box, el("span", {}, words));
  box.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => { box.hidden = true; }, kind === "bad" ? 9000 : 4000);
}

export function later(act, wait) {
  let waiting = 0;
  return (...words) => { clearTimeout(waiting); waiting = setTimeout(() => act(...words), wait); };
}

export function download(blob, name) {
  const address = URL.createObjectURL(blob);
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
