// Taking photos in: start, watch, stop, and what failed.

import { button, clear, count, el } from "./dom.js";
import * as api from "./api.js";

const STAGES = { scan: "Looking for photos", ingest: "Taking photos in", texts: "Reading texts", optimize: "Making the index fast" };

export class Ingest {
  constructor(done) {
    this.done = done;
    this.body = el("div", { class: "body" });
    this.dialog = el("dialog", { class: "sheet", "aria-label": "Take photos in", on: { close: () => this.events?.close() } },
      el("header", {}, el("h2", {}, "Take photos in"), button("Close", "close", () => this.dialog.close(), { quiet: true })), this.body);
    document.body.append(this.dialog);
  }

  async open() {
    this.dialog.showModal();
    const status = await api.get("api/status");
    if (status.job) {
      const job = await api.get(`api/ingest/${status.job}`);
      if (job.state === "running") return this.#watch(job);
    }
    return this.#choose(status.roots);
  }

  #choose(roots, problem) {
    if (!roots.length) {
      clear(this.body, el("p", {}, "This server was not given a folder that photos may be taken in from."), el("pre", {}, "interleave-index serve --root ~/Pictures"));
      return;
    }
    const root = el("select", { id: "root" }, roots.length > 1 ? el("option", { value: "" }, "all of them") : null, roots.map((one) => el("option", { value: one.path }, one.path)));
    const below = el("input", { type: "text", id: "below", placeholder: "everything", autocomplete: "off", spellcheck: false });
    const start = async (event) => {
      event.preventDefault();
      const folder = [root.value, below.value.trim()].filter(Boolean).join("/");
      try { this.#watch(await api.post("api/ingest", folder ? { folder } : {})); } catch (trouble) { this.#choose(roots, trouble); }
    };
    clear(this.body, el("form", { class: "column", on: { submit: start } },
      el("label", {}, el("span", {}, "Folder of the server"), root), el("label", {}, el("span", {}, "Only below"), below),
      problem ? el("p", { class: "trouble", role: "alert" }, problem.message) : null,
      el("p", { class: "soft" }, "What is known already is skipped. Files are only read, never written, moved or deleted."),
      el("div", { class: "row" }, el("button", { class: "button main", id: "start-ingest" }, "Take photos in"))));
  }

  #watch(job) {
    this.#show(job);
    this.events?.close();
    this.events = new EventSource(`api/ingest/${job.job}/events`);
    const take = (event) => this.#show(JSON.parse(event.data));
    this.events.addEventListener("progress", take);
    this.events.addEventListener("end", (event) => { this.events.close(); take(event); this.done(); });
  }

  #show(job) {
    const running = job.state === "running", reads = running && job.stage === "texts"; // texts come after the photos
    const [done, total, what] = reads ? [job.passages, job.passages_total, "passage"] : [job.done, job.total, "file"], share = total ? done / total : 0;
    const bar = el("progress", { max: 1, "aria-label": "Progress" });
    if (total || !running) bar.value = running ? share : 1;
    const report = job.report;
    const counts = report ? ["added", "changed", "moved", "duplicate", "present", "missing"].filter((name) => report[name]).map((name) => `${report[name].toLocaleString("en")} ${name}`) : [];
    if (report?.texts.passages) counts.push(`${count(report.texts.passages, "passage")} of texts`);
    const headline = { running: STAGES[job.stage], done: "Done", stopped: "Stopped; the next run goes on from here", failed: "Failed" }[job.state];
    clear(this.body, el("p", { class: "soft" }, job.folders.join(", ")), el("p", { class: "big", role: "status" }, headline), bar,
      el("p", {}, running ? `${done.toLocaleString("en")}${total ? ` of ${count(total, what)}` : ""} · ${reads ? "" : `${job.photos_per_s.toFixed(1)} photos/s · `}${job.failed} failed` : [...counts, report?.failed.length ? `${report.failed.length} failed` : null].filter(Boolean).join(" · ") || job.detail || "nothing new"),
      report?.failed.length ? el("details", { open: report.failed.length < 20, class: "failures" }, el("summary", {}, `${count(report.failed.length, "file")} could not be read`),
        el("ul", {}, report.failed.slice(0, 1000).map((one) => el("li", {}, el("b", {}, one.path.split("/").pop()), el("span", {}, one.detail), el("small", { class: "soft" }, one.path))))) : null,
      el("div", { class: "row" }, running ? button("Stop", "close", () => api.remove(`api/ingest/${job.job}`)) : button("Take in more", "add", async () => this.#choose((await api.get("api/status")).roots))));
  }
}
