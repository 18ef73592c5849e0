// A small picture of a part of a photo, with what lies around it dimmed.

import { el } from "./dom.js";
import * as api from "./api.js";
import { paint } from "./masks.js";

// part: {region: "photo/number", shown}; the mask is fetched once.
export function partOf(part) {
  const image = el("img", { src: part.shown, alt: part.name || "part of a photo" });
  const canvas = el("canvas", { class: "over", "aria-hidden": "true" });
  const box = el("span", { class: "part-of" }, image, canvas);
  const [photo, number] = part.region.split("/").map(Number);
  const draw = async () => {
    const { regions } = await api.regionsOf(photo);
    if (regions[number] && image.clientWidth) paint(canvas, image.clientWidth, image.clientHeight, [{ rle: regions[number].mask, n: 0, look: "strong" }]);
  };
  image.addEventListener("load", () => draw().catch(() => {}));
  return box;
}
