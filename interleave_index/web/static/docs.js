// The REST API for people, made from /openapi.json.

import { clear, el } from "./dom.js";

const api = await (await fetch("openapi.json")).json();
const named = (ref) => api.components.schemas[ref.split("/").pop()];

function kind(schema, deep = 0) {
  if (!schema) return "anything";
  if (schema.$ref) return deep > 0 ? schema.$ref.split("/").pop() : kind(named(schema.$ref), deep);
  if (schema.anyOf) return schema.anyOf.map((one) => kind(one, deep + 1)).filter((one) => one !== "null").join(" or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(", ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.prefixItems) return `[${schema.prefixItems.map((one) => kind(one, deep + 1)).join(", ")}]`;
  if (schema.type === "array") return `list of ${kind(schema.items, deep + 1)}`;
  const low = schema.minimum ?? schema.exclusiveMinimum, high = schema.maximum;
  return `${schema.format === "binary" ? "file" : schema.type || "anything"}${low !== undefined && high !== undefined ? ` ${low} to ${high}` : ""}`;
}

function table(rows) {
  return el("table", {}, el("tbody", {}, rows.map(([name, what, words]) => el("tr", {}, el("th", { scope: "row" }, el("code", {}, name)), el("td", {}, what), el("td", {}, words || "")))));
}

function fields(schema) {
  const whole = schema.$ref ? named(schema.$ref) : schema;
  return table(Object.entries(whole.properties || {}).map(([name, one]) => [name + ((whole.required || []).includes(name) ? " *" : ""), kind(one, 1), [one.description, one.default !== undefined && typeof one.default !== "object" ? `default ${JSON.stringify(one.default)}` : ""].filter(Boolean).join("; ")]));
}

function route(path, method, one) {
  const body = one.requestBody?.content || {};
  const json = body["application/json"];
  return el("details", { class: "route", id: one.operationId }, el("summary", {}, el("span", { class: "method" }, method.toUpperCase()), el("code", {}, path)),
    el("div", { class: "inside" }, (one.description || "").split("\n\n").map((words) => el("p", {}, words.replaceAll("\n", " "))),
      one.parameters?.length ? table(one.parameters.map((each) => [each.name + (each.required ? " *" : ""), kind(each.schema, 1), each.description])) : null,
      json ? fields(json.schema) : null,
      Object.keys(body).length > 1 || !json ? Object.keys(body).map((name) => el("p", { class: "soft" }, name)) : null,
      Object.values(json?.examples || {}).map((each) => [each.summary ? el("p", { class: "soft" }, each.summary) : null, el("pre", { tabIndex: 0 }, `curl -H 'Content-Type: application/json' ${new URL(path.slice(1), document.baseURI)} \\\n  -d '${JSON.stringify(each.value)}'`)])));
}

const tags = {};
for (const [path, methods] of Object.entries(api.paths)) for (const [method, one] of Object.entries(methods)) (tags[one.tags?.[0] || "other"] ||= []).push(route(path, method, one));
const shared = ["PartBody", "FiltersBody", "MaskBody", "Problem"].filter((name) => api.components.schemas[name]);
clear(document.querySelector("#docs"), el("h1", {}, "REST API of interleave-index ", api.info.version), el("p", {}, api.info.description), el("p", {}, el("a", { href: "./" }, "The page"), " · ", el("a", { href: "openapi.json" }, "openapi.json")),
  Object.entries(tags).map(([tag, routes]) => [el("h2", {}, tag), routes]),
  el("h2", {}, "shared"), shared.map((name) => el("details", { class: "route" }, el("summary", {}, el("code", {}, name)), el("div", { class: "inside" }, el("p", {}, api.components.schemas[name].description || ""), fields(api.components.schemas[name])))));
