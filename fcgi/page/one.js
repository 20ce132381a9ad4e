// SPDX-License-Identifier: MIT
// One migration opened: its fields, its failed jobs, its history.

import {mayWrite} from "./client.js";
import {act, actions} from "./act.js";
import {badge, bar, failedJobs, pace, paceText, stateOf, timeLeft, whoPaused, workerText} from "./list.js";
import {failedJobsPanel, historyPanel} from "./panels.js";
import {clean, foreign, h, line, moment, named, number, place, setText} from "./text.js";

export const one = document.getElementById("one");

// What each error means, and what has to be done before a restart can help.
const remedies = {
  1: "The table is not there. It must exist before a restart helps.",
  2: "The column is not there. It must exist before a restart helps.",
  3: "The registry does not know this kind of job. Its version must fit before a restart helps.",
  4: "A job used up its attempts. Look at the failed jobs and at the registry\u2019s log; a restart gives them new attempts.",
  5: "The registry does not know this batching strategy. Its version must fit before a restart helps.",
};
const largest = "9223372036854775807";

let view = null; // of the migration that is open

function makeView(id) {
  const heading = h("h2", {tabindex: "-1", id: "one-title"});
  const parts = {
    id, heading, text: "",
    state: h("div", {class: "state"}),
    toolbar: h("div", {class: "toolbar"}),
    worker: h("p", {class: "worker"}),
    fields: h("dl", {class: "fields"}),
    jobs: failedJobsPanel(id),
    history: historyPanel(`background-migrations/${id}/actions/`, "History", true),
  };
  place(one, [
    h("p", {}, h("a", {href: "#", class: "back"}, "\u2039 All migrations")),
    h("div", {class: "panel"}, heading, parts.state, parts.worker, parts.toolbar),
    parts.jobs.element, parts.history.element,
    h("section", {class: "group"}, h("h2", {}, "Fields"), parts.fields),
  ]);
  return parts;
}

function field(name, value) {
  if (value === undefined || value === null || value === "") return [];
  return [h("dt", {}, name), h("dd", {}, value)];
}

function fieldsOf(m) {
  const endless = String(m.max_value) === largest;
  const unbounded = String(m.min_value) === "0" && String(m.max_value) === "0";
  const speed = pace(m);
  return [
    ...field("Table", foreign(m.target_table)),
    ...field("Column", foreign(m.target_column)),
    ...field("Work", foreign(m.job_signature_name)),
    ...field("Batching", clean(m.batching_strategy) || "by key, one batch after another"),
    ...field("Values", unbounded ? "those that are still NULL"
      : `${number(m.min_value)} to ${endless ? "the last one" : number(m.max_value)}`),
    ...field("Batch size", number(m.batch_size)),
    ...field("Sub-batch size", Number(m.sub_batch_size) > 0 ? number(m.sub_batch_size) : null),
    ...field("Rows, estimated", m.total_tuple_count === undefined ? "not counted yet" : number(m.total_tuple_count)),
    ...field("Jobs finished", number(m.finished_jobs)),
    ...field("Jobs failed", number(m.failed_jobs ?? 0)),
    ...field("Pace", speed === null ? null : `${paceText(m)}, ${(speed * 3600 / m.batch_size).toFixed(1)} jobs/h`),
    ...["created", "started", "updated", "finished"].flatMap((what) =>
      field(what[0].toUpperCase() + what.slice(1), m[`${what}_at`] && moment(m[`${what}_at`]))),
  ];
}

function buttonsOf(m) {
  if (!mayWrite()) return [];
  const offered = {
    active: [actions.pause], running: [actions.pause], paused: [actions.resume], failed: [actions.restart],
  }[m.status] ?? [];
  return offered.map((make) => {
    const action = make(m);
    return h("button", {type: "button", class: "primary", onclick: () => act(action)}, action.verb);
  });
}

function failure(m) {
  if (m.error_code === undefined || m.error_code === null) return "";
  const remedy = remedies[m.error_code];
  return h("p", {class: "failure"}, h("strong", {}, clean(m.error ?? "unknown")), ` (${number(m.error_code)}) `, remedy ?? "");
}

// Shows the answer of GET background-migrations/{id}/; true where it is opened and not refreshed.
export function showOne(data) {
  const m = data.migration;
  const opened = view?.id !== m.id;
  if (opened) view = makeView(m.id);
  const text = JSON.stringify([m, mayWrite()]);
  if (text !== view.text) {
    const before = JSON.parse(view.text || "[{}]")[0];
    view.text = text;
    place(view.heading, [named(m.name), " ", h("span", {class: "id"}, `#${m.id}`)]);
    view.state.className = `state ${stateOf(m)}`;
    place(view.state, [badge(m), bar(m),
      line("facts", timeLeft(m), paceText(m), failedJobs(m)),
      failure(m), whoPaused(m) ?? ""]);
    // The buttons stay where they can: one of them may have the focus.
    if (before.status !== m.status || mayWrite() !== (view.toolbar.childElementCount > 0)) place(view.toolbar, buttonsOf(m));
    place(view.fields, fieldsOf(m));
    view.jobs.load();
    view.history.load();
  }
  const here = m.in_flight_since ? "A worker is in a run of this migration." : workerText(data);
  setText(view.worker, here);
  view.worker.classList.toggle("busy", data.job_in_flight === true);
  return opened;
}

export function closeOne() {
  view = null;
  one.replaceChildren();
}

export function showMissing(id) {
  view = null;
  place(one, [h("p", {}, h("a", {href: "#", class: "back"}, "\u2039 All migrations")),
    h("div", {class: "panel"}, h("h2", {tabindex: "-1", id: "one-title"}, `There is no migration ${clean(id)}`))]);
}
