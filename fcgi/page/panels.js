// SPDX-License-Identifier: MIT
// What is read in pages: the failed jobs of a migration, and the history of actions.

import {explain, mayWrite, request} from "./client.js";
import {act, actions} from "./act.js";
import {clean, count, foreign, h, line, moment, named, number, place} from "./text.js";

const size = 20;
// A filtered page may be short or empty and still have a next one (contract, section 2).
const pagesAtOnce = 10;

// A list that grows by pages. `source` gives path, query, member (of the answer), item (to an
// element) and none (a text for an empty list).
class Panel {
  constructor(title, source, open) {
    this.source = source;
    this.items = [];
    this.next = null;
    this.list = h("ol", {class: "entries"});
    this.note = h("p", {class: "muted"});
    this.button = h("button", {type: "button", class: "quiet", hidden: true, onclick: () => this.more()}, "Show more");
    this.element = h("details", {class: "group", open, hidden: true},
      h("summary", {}, h("h2", {}, title)), this.list, this.note, this.button);
  }

  // Reads from the newest on, as many as are shown already.
  async load() {
    if (this.missing) return;
    await this.read([], this.source.query ?? {}, Math.max(size, this.items.length));
  }

  async more() {
    await this.read(this.items, this.next, this.items.length + size);
  }

  async read(items, query, wanted) {
    const turn = (this.turn = {}); // a later read wins
    let answer;
    for (let page = 0; query && items.length < wanted && page < pagesAtOnce; page++) {
      answer = await request(this.source.path, {query: {...this.source.query, ...query, n: size}});
      if (answer.problem || this.turn !== turn) break;
      items = items.concat(answer.body[this.source.member] ?? []);
      query = answer.next;
    }
    if (this.turn !== turn) return;
    this.show(items, query, answer);
  }

  show(items, next, answer) {
    this.missing = answer?.error?.code === "HISTORY_NOT_ENABLED"; // no panel, and not asked for again
    this.element.hidden = this.missing;
    if (this.missing) return;
    if (answer?.problem) {
      this.note.textContent = explain(answer);
      return;
    }
    this.items = items;
    this.next = next;
    place(this.list, items.map((item) => this.source.item(item)));
    this.note.textContent = items.length ? "" : next ? "None among the newest ones." : this.source.none;
    this.button.hidden = !next;
  }
}

// ---- failed jobs ----

function job(j) {
  const unbounded = String(j.min_value) === "0" && String(j.max_value) === "0"; // NullKeySet
  const bounds = !unbounded && `values ${number(j.min_value)} to ${number(j.max_value)}`;
  const tried = h("span", {}, "last tried ", moment(j.updated_at ?? j.started_at ?? j.created_at));
  return h("li", {},
    h("p", {class: "entry-head"}, h("strong", {}, `Job ${j.id}`), h("span", {}, count(j.attempts, "attempt"))),
    line("facts", bounds, j.error && `error: ${clean(j.error)}`, tried));
}

export function failedJobsPanel(id) {
  return new Panel("Failed jobs", {
    path: `background-migrations/${id}/jobs/`, query: {status: "failed"}, member: "jobs", item: job, none: "No failed jobs.",
  }, true);
}

// ---- history ----

const past = {pause: "paused", resume: "resumed", restart: "restarted"};

function changed(action) {
  const all = action.migrations ?? [];
  const links = all.slice(0, 5).flatMap((m, i) => [i ? ", " : " ", h("a", {href: `#${m.id}`}, named(m.name))]);
  return all.length > 5 ? [...links, ` and ${count(all.length - 5, "more", "more")}`] : links;
}

function action(a) {
  const who = h("strong", {}, a.actor ? foreign(a.actor) : "A token without a name");
  const facts = line("facts", moment(a.at), `action ${a.id}`, a.undoes && `takes back action ${a.undoes}`,
    a.remote_ip && clean(a.remote_ip), a.correlation_id && h("span", {class: "code"}, clean(a.correlation_id)));
  const undo = a.action === "pause" && mayWrite() &&
    h("button", {type: "button", class: "quiet", onclick: () => act(actions.undo(a))},
      "Undo", h("span", {class: "unseen"}, ` action ${a.id}`));
  return h("li", {},
    h("p", {}, who, ` ${past[a.action] ?? clean(a.action)}`, ...changed(a)),
    a.reason && h("p", {class: "reason"}, foreign(a.reason, "q")),
    h("div", {class: "entry-foot"}, facts, undo));
}

export function historyPanel(path, title, open = false) {
  return new Panel(title, {path, member: "actions", item: action, none: "No actions yet."}, open);
}
