// Masks: COCO run lengths to pixels, pixels to paint. Pure functions on arrays and canvases.

import { colour } from "./dom.js";

// COCO's compressed run lengths: 5 bits a character, differences to the run before last from the third on.
function runs(text) {
  const found = [];
  let at = 0;
  while (at < text.length) {
    let value = 0, shift = 0, more = true;
    while (more) {
      const piece = text.charCodeAt(at++) - 48;
      value |= (piece & 31) << shift;
      shift += 5;
      more = (piece & 32) !== 0;
      if (!more && piece & 16) value |= -1 << shift;
    }
    if (found.length > 2) value += found[found.length - 2];
    found.push(value);
  }
  return found;
}

// {size: [h, w], counts} to {w, h, on}: on[y * w + x] is 1 inside.
export function decode(rle) {
  const [h, w] = rle.size;
  const on = new Uint8Array(h * w);
  const lengths = typeof rle.counts === "string" ? runs(rle.counts) : rle.counts;
  let at = 0, inside = false;
  for (const length of lengths) {
    if (inside) for (let n = at; n < at + length; n++) on[(n % h) * w + ((n / h) | 0)] = 1;
    at += length;
    inside = !inside;
  }
  return { w, h, on };
}

// The other way: uncompressed run lengths, column by column, zeros first.
export function encode({ w, h, on }) {
  const counts = [];
  let run = 0, value = 0;
  for (let x = 0; x < w; x++) {
    for (let y = 0; y < h; y++) {
      if (on[y * w + x] !== value) { counts.push(run); run = 0; value = 1 - value; }
      run++;
    }
  }
  counts.push(run);
  return { size: [h, w], counts };
}

const grounds = new WeakMap(); // rle -> its pixels as an alpha picture
const pictures = new WeakMap(); // rle -> {key, canvas}: as it was painted last

function ground(rle) {
  if (!grounds.has(rle)) {
    const mask = decode(rle);
    const canvas = new OffscreenCanvas(mask.w, mask.h);
    const pen = canvas.getContext("2d");
    const data = pen.createImageData(mask.w, mask.h);
    for (let at = 0; at < mask.on.length; at++) data.data[4 * at + 3] = mask.on[at] * 255;
    pen.putImageData(data, 0, 0);
    grounds.set(rle, { ...mask, canvas });
  }
  return grounds.get(rle);
}

// One mask at the size of the screen: tinted inside, a line in the full colour, a dark rim outside so that it shows on
// any ground. Masks are coarser than screens, so the border is smoothed before it is followed.
function picture(rle, n, w, h, { fill, line, dotted = false }) {
  const key = `${n}/${w}/${h}/${fill}/${line}/${dotted}`;
  if (pictures.get(rle)?.key === key) return pictures.get(rle).canvas;
  const small = ground(rle);
  const canvas = new OffscreenCanvas(w, h);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.imageSmoothingQuality = "high";
  if (w > small.w) pen.filter = `blur(${(0.7 * w / small.w).toFixed(1)}px)`;
  pen.drawImage(small.canvas, 0, 0, w, h);
  const data = pen.getImageData(0, 0, w, h), pixels = data.data, inside = new Uint8Array(w * h);
  for (let at = 0; at < inside.length; at++) inside[at] = pixels[4 * at + 3] > 127 ? 1 : 0;
  const [r, g, b] = colour(n), thick = Math.max(2, Math.round(Math.max(w, h) / 400));
  const whole = inside.every(Boolean); // the photo itself: its frame alone is drawn
  const near = (x, y, value, far) => {
    for (const [dx, dy] of [[-far, 0], [far, 0], [0, -far], [0, far]]) {
      const [u, v] = [x + dx, y + dy];
      const within = u >= 0 && v >= 0 && u < w && v < h;
      if (within ? inside[v * w + u] === value : whole) return true;
    }
    return false;
  };
  // Steps to the other side along a row or a column: a broken line counts its dashes along the border.
  const reach = (x, y, dx, dy) => {
    const value = inside[y * w + x];
    for (let far = 1; far <= 3 * thick; far++) for (const side of [far, -far]) {
      const [u, v] = [x + side * dx, y + side * dy];
      if (u >= 0 && v >= 0 && u < w && v < h && inside[v * w + u] !== value) return far;
    }
    return Infinity;
  };
  const gap = (x, y) => Math.floor((reach(x, y, 1, 0) < reach(x, y, 0, 1) ? y : x) / (2.5 * thick)) % 2 === 1;
  for (let y = 0, at = 0; y < h; y++) {
    for (let x = 0; x < w; x++, at++) {
      const edge = near(x, y, 1 - inside[at], whole ? 2 * thick : inside[at] ? thick : thick - 1) && !(dotted && gap(x, y));
      const alpha = inside[at] ? (edge ? line : whole ? 0 : fill) : edge ? 0.5 * line : 0;
      pixels[4 * at] = inside[at] ? r : 0;
      pixels[4 * at + 1] = inside[at] ? g : 0;
      pixels[4 * at + 2] = inside[at] ? b : 0;
      pixels[4 * at + 3] = alpha * 255;
    }
  }
  pen.putImageData(data, 0, 0);
  pictures.set(rle, { key, canvas });
  return canvas;
}

// Paint masks over a canvas. shapes: [{rle, n, look}]; a look is one of these.
const LOOKS = {
  there: { fill: 0.36, line: 1 },
  doubtful: { fill: 0.07, line: 1, dotted: true }, // the best place for what may not be there
  strong: { fill: 0.55, line: 1 },
  outline: { fill: 0, line: 0.8 },
  pointed: { fill: 0.12, line: 1 },
  faint: { fill: 0.05, line: 0.25 },
};
export function paint(canvas, width, height, shapes) {
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  canvas.width = w;
  canvas.height = h;
  const pen = canvas.getContext("2d");
  for (const { rle, n, look = "there" } of shapes) pen.drawImage(picture(rle, n, w, h, LOOKS[look]), 0, 0);
}

// A heat map over a picture: black by violet and orange to yellow.
const WARM = [[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]];
export function paintHeat(canvas, width, height, { size: [h, w], values }) {
  const bytes = Uint8Array.from(atob(values), (letter) => letter.charCodeAt(0));
  const small = new OffscreenCanvas(w, h), pen = small.getContext("2d"), data = pen.createImageData(w, h);
  bytes.forEach((value, at) => {
    const place = value / 255 * (WARM.length - 1), low = Math.min(Math.floor(place), WARM.length - 2), share = place - low;
    for (let n = 0; n < 3; n++) data.data[4 * at + n] = WARM[low][n] * (1 - share) + WARM[low + 1][n] * share;
    data.data[4 * at + 3] = 185;
  });
  pen.putImageData(data, 0, 0);
  canvas.width = Math.round(width);
  canvas.height = Math.round(height);
  const over = canvas.getContext("2d");
  over.imageSmoothingQuality = "high";
  over.drawImage(small, 0, 0, canvas.width, canvas.height);
}

export function area(rle) {
  return ground(rle).on.reduce((sum, one) => sum + one, 0) / (rle.size[0] * rle.size[1]);
}

export function covers(rle, x, y) { // x, y as shares of the picture
  const { w, h, on } = ground(rle);
  return on[Math.min(h - 1, Math.floor(y * h)) * w + Math.min(w - 1, Math.floor(x * w))] === 1;
}

// The size of a picture within a frame and its padding: as large as fits, at most `most` times its own pixels.
export function fitted(frame, width, height, most = 3) {
  const style = getComputedStyle(frame), padding = (...sides) => sides.reduce((sum, side) => sum + Number.parseFloat(style[`padding${side}`]), 0);
  const wide = frame.clientWidth - padding("Left", "Right"), high = frame.clientHeight - padding("Top", "Bottom");
  const scale = Math.max(0, Math.min(wide / width, high / height, most));
  return [Math.floor(width * scale), Math.floor(height * scale)];
}
