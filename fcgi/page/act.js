// SPDX-License-Identifier: MIT
// Pause, resume, restart, undo. Each is a dialog of two steps: what would happen (a dry run) with a
// question for the reason, then what has happened.

import {explain, request} from "./client.js";
import {clean, count, h, named, place} from "./text.js";

const dialog = document.getElementById("dialog");
let changedSomething = () => {}; // the page reads the migrations again

export function onChange(callback) {
  changedSomething = callback;
}

// What can be done: title and verb for people, path for the service.
function of(verb, done, path, what, query = {}) {
  return {verb, done, path, query, title: `${verb} ${what}`, reason: true};
}

export const actions = {
  pauseAll: () => of("Pause", "paused", "background-migrations/pause/", "all migrations"),
  resumeAll: () => ({...of("Resume", "resumed", "background-migrations/resume/", "all migrations"),
    caution: "This also resumes what somebody else paused for a reason of their own. "
      + "Undo of an action gives back only what that action took."}),
  pause: (m) => of("Pause", "paused", `background-migrations/${m.id}/pause/`, `migration ${m.id}`),
  resume: (m) => of("Resume", "resumed", `background-migrations/${m.id}/resume/`, `migration ${m.id}`),
  restart: (m) => of("Restart", "restarted", `background-migrations/${m.id}/restart/`, `migration ${m.id}`),
  undo: (a) => of("Undo", "resumed", "bbm/resume/", `action ${a.id}`, {action_id: a.id}),
};

// ---- what an answer says, as elements ----

function rowsOf(title, items, className = "") {
  if (!Array.isArray(items) || items.length === 0) return "";
  const rows = items.map((item) => {
    const m = typeof item === "object" && item ? item : {id: item};
    const why = m.why ?? m.reason ?? m.state;
    return h("li", {}, h("span", {class: "id"}, `#${clean(m.id)}`), " ", named(m.name ?? ""),
      m.previous_status ? h("span", {class: "muted"}, ` ${clean(m.previous_status)} \u2192 ${clean(m.status)}`) : "",
      why ? h("span", {class: "muted"}, ` \u2013 ${clean(why)}`) : "");
  });
  return h("div", {class: className}, h("h3", {}, `${title} (${items.length})`), h("ul", {class: "changes"}, ...rows));
}

// BBM_HELD and a dry run list what a worker's run holds under the verb's own name.
function heldOf(source) {
  return source?.not_paused ?? source?.not_resumed ?? source?.not_restarted ?? source?.held;
}

function sentence(text) {
  const words = clean(text);
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? "" : "."}`;
}

function report(action, answer, dry) {
  const result = answer.body ?? {};
  const detail = typeof answer.error?.detail === "object" ? answer.error.detail : null;
  const source = answer.problem ? detail : result;
  const changes = source?.migrations ?? [];
  const parts = [];
  if (answer.problem === "held")
    parts.push(h("p", {class: "failure"}, sentence(detail?.reason ?? "A worker\u2019s run holds a migration"),
      ` Such a run takes up to three minutes${answer.retryAfter ? `; try again in ${answer.retryAfter} s` : ""}.`));
  else if (answer.problem) parts.push(h("p", {class: "failure"}, explain(answer)));
  else if (changes.length === 0) parts.push(h("p", {}, dry ? "Nothing would be changed." : "Nothing had to be changed."));
  if (result.repeated) parts.push(h("p", {}, "This request had been answered before; it was not done twice."));
  parts.push(
    rowsOf(dry ? `Would be ${action.done}` : action.done[0].toUpperCase() + action.done.slice(1), changes),
    rowsOf(dry ? `Held by a worker, might not be ${action.done}` : `Not ${action.done}`, heldOf(source), "bad"),
    rowsOf("Left as they are", source?.left));
  if (result.warning) parts.push(h("p", {class: "failure"}, sentence(result.warning)));
  if (source?.job_in_flight)
    parts.push(h("p", {class: "muted"},
      "A worker is in a run at this moment. A job under way goes on to its end, up to three minutes."));
  return parts.filter((part) => part !== "");
}

// True where the service may have done something though no answer says so.
function isUncertain(answer) {
  return ["timeout", "unreachable", "foreign", "unavailable", "fault"].includes(answer.problem);
}

// ---- the dialog ----

// The title gets the focus at each step, so that a screen reader reads on from there.
function step(title, body, buttons) {
  const heading = h("h2", {id: "dialog-title", tabindex: "-1"}, title);
  place(dialog, [heading, h("div", {class: "dialog-body"}, ...body), h("div", {class: "toolbar"}, ...buttons)]);
  if (!dialog.open) dialog.showModal();
  heading.focus();
}

function button(text, onclick, className = "") {
  return h("button", {type: "button", class: className, onclick}, text);
}

function newKey() {
  const bytes = [...crypto.getRandomValues(new Uint8Array(12))];
  return `page-${bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function close() {
  dialog.close();
}

function send(action, {query = {}, reason, key} = {}) {
  const json = reason ? {reason} : undefined;
  return request(action.path, {method: "POST", query: {...action.query, ...query}, json, key, seconds: 60});
}

// Opens the dialog with what the action would do.
export async function act(action, reason = "") {
  const turn = (dialog.turn = {});
  const waiting = h("p", {class: "muted"}, "Asking the service what would change\u2026");
  step(`${action.title}?`, [waiting], [button("Cancel", close)]);
  const answer = await send(action, {query: {dry_run: "true"}});
  if (dialog.turn !== turn || !dialog.open) return;
  if (answer.problem === "scope") changedSomething(); // the buttons go
  if (!answer.problem && answer.body.dry_run !== true) {
    showResult(action, answer, reason); // not a dry run after all: say what was done
    return;
  }
  ask(action, answer, reason);
}

function ask(action, answer, reason) {
  const changes = answer.body?.migrations ?? [];
  const isHeld = heldOf(answer.body)?.length > 0;
  if (answer.problem !== "held" && (answer.problem || (changes.length === 0 && !isHeld))) {
    const again = isUncertain(answer) ? [button("Try again", () => act(action, reason))] : [];
    const title = `${action.title}: ${answer.problem ? "not possible" : "nothing to do"}`;
    step(title, report(action, answer, true), [button("Close", close), ...again]);
    return;
  }
  const input = h("input", {id: "reason", type: "text", maxlength: 500, autocomplete: "off", value: reason,
    placeholder: "INC-4711, disk full", onkeydown: (event) => { if (event.key === "Enter") go.click(); }});
  const verb = changes.length > 1 ? `${action.verb} ${count(changes.length, "migration")}` : action.verb;
  const go = button(verb, () => run(action, input.value.trim(), go), "primary");
  step(`${action.title}?`, [
    ...(action.caution ? [h("p", {class: "caution"}, action.caution)] : []),
    ...report(action, answer, true),
    h("label", {for: "reason"}, "Reason ", h("span", {class: "muted"}, "for the log and for the next on call")), input,
  ], [button("Cancel", close), go]);
}

async function run(action, reason, go) {
  const turn = (dialog.turn = {});
  go.disabled = true;
  go.textContent = "Working\u2026";
  // One key for a try and its repeats: where the first was done after all, the service says so and
  // does not do it twice.
  action.key ??= newKey();
  const answer = await send(action, {reason, key: action.key});
  if (!isUncertain(answer)) action.key = undefined;
  changedSomething();
  if (dialog.turn === turn && dialog.open) showResult(action, answer, reason);
}

function showResult(action, answer, reason) {
  const body = report(action, answer, false);
  const buttons = [button("Close", close, "primary")];
  if (isUncertain(answer))
    body.push(h("p", {}, "It is not known whether anything was changed. The list shows it once it can be read again."));
  if (answer.problem === "held" || isUncertain(answer)) buttons.unshift(button("Try again", () => act(action, reason)));
  const id = answer.body?.action_id ?? answer.error?.detail?.action_id;
  if (id !== undefined && action.done === "paused") buttons.unshift(button("Undo", () => act(actions.undo({id}))));
  const partly = answer.problem === "held" && answer.error?.detail?.migrations?.length > 0;
  step(answer.problem ? `${action.title}: ${partly ? "done in part" : "not done"}` : `${action.title}: done`, body, buttons);
}

dialog.addEventListener("close", () => { dialog.turn = null; });
