// SPDX-License-Identifier: MIT
// The list of all migrations: what needs a person's eye first, what is finished last.

import {mayWrite} from "./client.js";
import {act, actions} from "./act.js";
import {historyPanel} from "./panels.js";
import {clean, count, duration, foreign, h, line, moment, named, number, percent, place, setText} from "./text.js";

// In this order on the page; what the words mean stands beside them.
const groups = [
  ["running", "Running", "the worker takes these first"],
  ["failed", "Failed", "stays so until it is restarted"],
  ["unknown", "Unknown", "a state that this service does not know"],
  ["paused", "Paused", "stays so until it is resumed"],
  ["active", "Active", "waits for the worker"],
  ["finished", "Finished", ""],
];

const known = new Set(groups.map(([state]) => state));
const rows = new Map(); // id → {element, text}: a row is filled again only when it has changed
const sections = new Map(groups.map(([state, title, meaning]) => [state, makeGroup(state, title, meaning)]));
const worker = h("p", {class: "worker"});
const pauseAll = h("button", {type: "button", onclick: () => act(actions.pauseAll())}, "Pause all");
const resumeAll = h("button", {type: "button", onclick: () => act(actions.resumeAll())}, "Resume all");
const toolbar = h("div", {class: "toolbar"}, pauseAll, resumeAll);
const search = h("input", {type: "search", oninput: filter,
  placeholder: "Find by name, table or id", "aria-label": "Find migrations"});
const nothing = h("p", {class: "muted"});
const summary = h("p", {class: "summary"});
const top = h("div", {class: "top"}, h("div", {}, summary, worker), toolbar);
const latest = historyPanel("bbm/actions/", "Latest actions");

export const list = document.getElementById("list");

export function stateOf(m) {
  return known.has(m.status) ? m.status : "unknown";
}

export function badge(m) {
  return h("span", {class: `badge ${stateOf(m)}`}, clean(m.status));
}

// The bar and the percentage; words where they cannot be known.
export function bar(m) {
  if (m.progress === undefined)
    return h("p", {class: "bar"}, h("span", {class: "muted"}, m.status === "active" ? "not started" : "progress is not known"));
  return h("p", {class: "bar"},
    h("progress", {max: 100, value: m.progress, "aria-label": `Progress of migration ${m.id}`}),
    h("span", {class: "percent", title: m.capped ? "The estimate of rows was too low" : null}, percent(m.progress)));
}

// Rows a second, from the time that the service estimates; null where there is no estimate.
export function pace(m) {
  const left = Number(m.total_tuple_count) - Number(m.finished_jobs) * m.batch_size;
  return left > 0 && m.estimated_seconds_remaining > 0 ? left / m.estimated_seconds_remaining : null;
}

export function paceText(m) {
  const speed = pace(m);
  if (speed === null) return null;
  return speed >= 1 / 6 ? `${number(Math.round(speed * 60))} rows/min` : `${number(Math.round(speed * 3600))} rows/h`;
}

export function timeLeft(m) {
  const seconds = m.estimated_seconds_remaining;
  return seconds !== undefined && `about ${duration(Number(seconds))} left`;
}

export function whoPaused(m) {
  if (!m.paused_at && !m.paused_by && !m.pause_reason) return null;
  return h("p", {class: "paused-by"}, "Paused by ", m.paused_by ? foreign(m.paused_by) : "a token without a name",
    ...(m.paused_at ? [" ", moment(m.paused_at)] : []),
    ...(m.pause_reason ? [": ", foreign(m.pause_reason, "q")] : [" without a reason"]));
}

export function failedJobs(m) {
  return Number(m.failed_jobs) > 0 && h("strong", {class: "bad"}, count(m.failed_jobs, "failed job"));
}

function fill(element, m) {
  const focused = element.contains(document.activeElement);
  element.className = `card ${stateOf(m)}`;
  element.replaceChildren(
    h("h3", {}, h("a", {href: `#${m.id}`}, named(m.name)), " ", h("span", {class: "id"}, `#${m.id}`)),
    badge(m),
    bar(m),
    line("facts",
      timeLeft(m),
      paceText(m),
      failedJobs(m),
      m.error && h("span", {class: "bad"}, clean(m.error)),
      m.in_flight_since && h("span", {}, "worker in a run since ", moment(m.in_flight_since)),
      m.finished_at && m.status === "finished" && h("span", {}, "finished ", moment(m.finished_at)),
      named(m.target_table)),
    ...[whoPaused(m)].filter(Boolean));
  if (focused) element.querySelector("a").focus();
}

function rowOf(m) {
  const text = JSON.stringify(m);
  const row = rows.get(m.id) ?? {element: h("li", {})};
  if (row.text !== text) fill(row.element, m);
  row.text = text;
  row.words = `${m.id} ${m.name} ${m.target_table}.${m.target_column}`.toLowerCase();
  rows.set(m.id, row);
  return row;
}

function makeGroup(state, title, meaning) {
  const size = h("span", {class: "size"});
  const cards = h("ul", {class: "cards"});
  const heading = h("h2", {}, title, " ", size);
  const note = meaning ? h("p", {class: "muted meaning"}, meaning) : "";
  const element = state === "finished"
    ? h("details", {class: "group"}, h("summary", {}, heading), cards)
    : h("section", {class: "group"}, h("div", {class: "group-head"}, heading, note), cards);
  return {element, size, cards};
}

export function workerText(data) {
  if (data.job_in_flight === undefined) return "";
  const holder = data.migrations?.find((m) => m.in_flight_since);
  if (!data.job_in_flight) return "No worker is in a run at this moment.";
  return holder ? `A worker is in a run of migration ${holder.id}.` : "A worker is in a run.";
}

function filter() {
  const wanted = search.value.trim().toLowerCase();
  let shown = 0;
  for (const row of rows.values()) {
    row.element.hidden = !row.words.includes(wanted);
    shown += !row.element.hidden;
  }
  for (const group of sections.values())
    group.element.hidden = ![...group.cards.children].some((card) => !card.hidden);
  // A search looks among the finished ones too.
  if (wanted) sections.get("finished").element.open = true;
  setText(nothing, rows.size === 0 ? "There are no background migrations in this database." : shown ? "" : "None of them matches.");
}

// "1 running · 2 failed · …"
function summarize(all) {
  const parts = groups.map(([state]) => [all.filter((m) => stateOf(m) === state).length, state]).filter(([n]) => n > 0);
  return parts.flatMap(([n, state], i) => [i ? " \u00b7 " : "", h("span", {class: `state-${state}`}, `${n} ${state}`)]);
}

export function showList(data) {
  const all = data.migrations;
  const present = new Set(all.map((m) => m.id));
  for (const id of rows.keys()) if (!present.has(id)) rows.delete(id);
  for (const [state] of groups) {
    const members = all.filter((m) => stateOf(m) === state);
    const group = sections.get(state);
    place(group.cards, members.map((m) => rowOf(m).element));
    setText(group.size, String(members.length));
  }
  place(summary, summarize(all));
  setText(worker, workerText(data));
  worker.classList.toggle("busy", data.job_in_flight === true);
  toolbar.hidden = !mayWrite();
  pauseAll.disabled = !all.some((m) => m.status === "active" || m.status === "running");
  resumeAll.disabled = !all.some((m) => m.status === "paused");
  search.hidden = all.length < 10;
  place(list, [top, search, nothing, ...[...sections.values()].map((g) => g.element), latest.element]);
  filter();
}

// What a changed list may bring with it.
export function refreshHistory() {
  return latest.load();
}
