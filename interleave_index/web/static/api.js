// The server: requests, problems, pictures. Knows no page.

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || `the server answered ${status}`);
    this.status = status;
    this.pointer = body.pointer;
    this.body = body;
  }
}

export const wants = new EventTarget(); // "token": the server asks for one

const BUSY_TRIES = 3, LONGEST_WAIT = 10; // how often a busy server is asked again, and for how many seconds at most

async function send(path, options = {}, tries = BUSY_TRIES) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch (trouble) {
    if (trouble.name === "AbortError") throw trouble;
    throw new Problem(0, { detail: "The server cannot be reached. Is it still running?" });
  }
  if (answer.ok) return answer;
  const wait = Number(answer.headers.get("Retry-After") || 1);
  if (answer.status === 429 && tries > 1 && wait <= LONGEST_WAIT && !path.startsWith("api/session")) {
    await new Promise((done) => setTimeout(done, 1000 * wait * (0.5 + Math.random())));
    options.signal?.throwIfAborted();
    return send(path, options, tries - 1);
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401 && !path.startsWith("api/session")) wants.dispatchEvent(new Event("token"));
  if (answer.status === 429 && !path.startsWith("api/session")) body.detail = "The server is busy with other requests.";
  throw new Problem(answer.status, body);
}

const asJson = (body) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const get = async (path, signal) => (await send(path, { signal })).json();
export const post = async (path, body, signal) => (await send(path, { ...asJson(body), signal })).json();
export const remove = (path) => send(path, { method: "DELETE" });
export const enter = (token) => send("api/session", asJson({ token }));

export async function file(path, body) {
  const answer = await send(path, asJson(body));
  const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") || "");
  return { blob: await answer.blob(), name: name ? name[1] : "export" };
}

export async function upload(blob) {
  return (await send("api/uploads", { method: "POST", body: blob, headers: { "Content-Type": "application/octet-stream" } })).json();
}

export const thumbnail = (id) => `api/photos/${id}/thumbnail`;
export const display = (id) => `api/photos/${id}/display`;
export const archive = (name) => `api/originals/${name}.zip`;
export const original = (id) => `api/photos/${id}/original`;

// Answers that do not change while a search is held: kept, the oldest go first.
const kept = new Map();
export function once(path) {
  if (!kept.has(path)) {
    const asked = get(path);
    asked.catch(() => kept.delete(path));
    kept.set(path, asked);
    if (kept.size > 600) kept.delete(kept.keys().next().value);
  }
  return kept.get(path);
}
export const masksOf = (search, id) => once(`api/search/${search}/photos/${id}/masks`);
export const textsOf = (id) => get(`api/photos/${id}/texts`); // an ingest may change them
export const regionsOf = (id) => once(`api/photos/${id}/regions`);
