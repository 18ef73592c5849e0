// A map of places on which a box can be drawn. Knows canvases; asks nothing of the server but its own coastlines.

const SIDE = { wide: 320, high: 180 }, RATIO = 2; // CSS pixels; pixels of the canvas for each
const LEAST = 0.04; // degrees of latitude that are shown at least
const COARSE = 1; // degrees: where less than this is shown, coastlines would mislead

let asked = null; // a promise of the coastlines, once a map wants them

// Rings of [longitude, latitude, longitude, ...] in degrees.
async function coastlines() {
  const { LAND, STEPS } = await import("./coastline.js");
  const bytes = atob(LAND);
  let at = 0;
  const number = () => {
    let value = 0, shift = 0, byte;
    do { byte = bytes.charCodeAt(at++); value |= (byte & 127) << shift; shift += 7; } while (byte & 128);
    return value & 1 ? -(value >>> 1) : value >>> 1;
  };
  const rings = [];
  let x = 0, y = 0;
  while (at < bytes.length) {
    const ring = [];
    for (let left = number(); left > 0; left--) ring.push((x += number()) / STEPS, (y += number()) / STEPS);
    rings.push(ring);
  }
  return rings;
}

// What is shown: all places with a margin around them, in the shape of the map, degrees of longitude as narrow as they are there.
export function frameOf(places, aspect = SIDE.wide / SIDE.high) {
  const extent = (n) => { const values = places.map((place) => place[n]); return [Math.min(...values), Math.max(...values)]; };
  const [[south, north], [west, east]] = [extent(0), extent(1)];
  const narrow = Math.max(0.2, Math.cos((south + north) / 2 * Math.PI / 180));
  const high = 1.2 * Math.max(north - south, (east - west) * narrow / aspect, LEAST), wide = high * aspect / narrow;
  const middle = [(south + north) / 2, (west + east) / 2];
  return { south: middle[0] - high / 2, north: middle[0] + high / 2, west: middle[1] - wide / 2, east: middle[1] + wide / 2 };
}

// A canvas with the places ([latitude, longitude]) and a box ([south, west, north, east], or null), which `drawn` is told of.
export function placeMap(places, box, label, drawn) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: SIDE.wide * RATIO, height: SIDE.high * RATIO, className: "map" });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  const frame = frameOf(places), pen = canvas.getContext("2d");
  const x = (longitude) => (longitude - frame.west) / (frame.east - frame.west) * canvas.width;
  const y = (latitude) => (frame.north - latitude) / (frame.north - frame.south) * canvas.height;
  const style = getComputedStyle(document.documentElement), ink = (name) => style.getPropertyValue(name);
  const ground = new OffscreenCanvas(canvas.width, canvas.height);

  const drawLand = (land) => {
    const brush = ground.getContext("2d");
    brush.beginPath();
    for (const ring of land) {
      brush.moveTo(x(ring[0]), y(ring[1]));
      for (let n = 2; n < ring.length; n += 2) brush.lineTo(x(ring[n]), y(ring[n + 1]));
      brush.closePath();
    }
    Object.assign(brush, { fillStyle: ink("--card"), strokeStyle: ink("--edge"), lineWidth: 1.5, lineJoin: "round" });
    brush.fill("evenodd");
    brush.stroke();
  };
  const draw = (shown) => {
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(ground, 0, 0);
    Object.assign(pen, { fillStyle: ink("--link"), strokeStyle: ink("--card"), lineWidth: 2 });
    for (const [latitude, longitude] of places) { pen.beginPath(); pen.arc(x(longitude), y(latitude), 6, 0, 7); pen.fill(); pen.stroke(); }
    if (!shown) return;
    const [south, west, north, east] = shown;
    Object.assign(pen, { strokeStyle: ink("--ink"), lineWidth: 4 });
    pen.strokeRect(x(west), y(north), x(east) - x(west), y(south) - y(north));
  };

  const at = (event) => {
    const place = canvas.getBoundingClientRect();
    return [frame.north - (event.clientY - place.top) / place.height * (frame.north - frame.south), frame.west + (event.clientX - place.left) / place.width * (frame.east - frame.west)];
  };
  const between = (a, b) => [Math.max(-90, Math.min(a[0], b[0])), Math.max(-180, Math.min(a[1], b[1])), Math.min(90, Math.max(a[0], b[0])), Math.min(180, Math.max(a[1], b[1]))];
  let start = null, last = null;
  canvas.addEventListener("pointerdown", (event) => { [start, last] = [at(event), null]; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => { if (start) draw(last = between(start, at(event))); });
  canvas.addEventListener("pointerup", () => { if (start) { start = null; drawn(last); } }); // a click takes the box away
  canvas.addEventListener("pointercancel", () => { start = null; draw(box); });

  canvas.mark = (shown) => { box = shown; draw(box); };
  draw(box);
  if (frame.east - frame.west >= COARSE) {
    asked ||= coastlines();
    asked.then((land) => { drawLand(land); draw(box); canvas.dataset.land = "yes"; }, () => { asked = null; }); // a map without coasts is a map
  }
  return canvas;
}
