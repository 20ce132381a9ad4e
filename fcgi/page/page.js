// SPDX-License-Identifier: MIT
// The page: asks the service again every few seconds while somebody looks, shows the list or one
// migration, and says honestly how old that is and what is wrong.

import {explain, hasToken, mayWrite, request, setToken, takeTokenFromAddress, tokenClaims} from "./client.js";
import {onChange} from "./act.js";
import {list, refreshHistory, showList} from "./list.js";
import {closeOne, one, showMissing, showOne} from "./one.js";
import {clean, duration, moment, now, setClock, setText} from "./text.js";

const every = 5; // seconds between two questions
const slowest = 30; // and at most, while the service is away
const stale = 15; // from this age on, the age is shown as a warning

const at = (id) => document.getElementById(id);
const views = {list, one, signIn: at("sign-in")};
const state = {
  etag: null, // of what is shown
  shown: null, // the path of what is shown; null: nothing
  shownAt: 0, // Date.now() when the service last said that it is right
  failures: 0, // in a row
  timer: 0,
  turn: null, // of the latest question; an answer to an earlier one is passed over
  states: new Map(), // id → status at the last list, to say what has changed
};

// ---- which view the address means ----

function openedId(hash = location.hash) {
  return /^#([1-9]\d*)$/.exec(hash)?.[1] ?? null;
}

function pathOfView() {
  const id = openedId();
  return id ? `background-migrations/${id}/` : "background-migrations/";
}

function showView(name) {
  for (const [other, element] of Object.entries(views)) element.hidden = other !== name;
}

// ---- what the page says beside the migrations ----

function say(text) {
  setText(at("said"), text);
}

function setBanner(text) {
  const banner = at("banner");
  setText(banner, text);
  banner.hidden = text === "";
}

function showAge() {
  const seconds = Math.max(0, Date.now() - state.shownAt) / 1000;
  at("refresh").hidden = state.shown === null;
  const checked = seconds < 1 ? "Checked just now" : `Checked ${duration(seconds)} ago`;
  setText(at("age"), state.shown === null ? "Not loaded yet" : checked);
  at("age").classList.toggle("old", state.shown !== null && seconds >= stale);
}

function showToken() {
  const claims = tokenClaims();
  at("token-line").hidden = !hasToken();
  if (!hasToken()) return;
  const who = claims?.sub ? `Token of ${clean(claims.sub)}` : "Token without a name";
  const left = Number(claims?.exp) - now() / 1000;
  const life = Number.isFinite(left) ? (left > 0 ? `, runs out in ${duration(left)}` : ", has run out") : "";
  setText(at("token-who"), `${who}, ${mayWrite() ? "may read and write" : "may only read"}${life}`);
}

function showTimes() {
  for (const element of document.querySelectorAll("time")) setText(element, moment(element.dateTime).textContent);
}

// Says changes of state to a screen reader, and how many have failed in the tab's title.
function announce(migrations) {
  const news = migrations.filter((m) => state.states.has(m.id) && state.states.get(m.id) !== m.status);
  if (news.length > 0 && news.length <= 3)
    say(news.map((m) => `Migration ${m.id} is now ${clean(m.status)}.`).join(" "));
  else if (news.length > 3) say(`${news.length} migrations have changed their state.`);
  state.states = new Map(migrations.map((m) => [m.id, m.status]));
  const failed = migrations.filter((m) => m.status === "failed").length;
  document.title = `${failed ? `${failed} failed \u00b7 ` : ""}Background migrations`;
}

// ---- asking ----

function later(seconds) {
  clearTimeout(state.timer);
  if (!document.hidden) state.timer = setTimeout(refresh, seconds * 1000);
}

async function refresh() {
  const path = pathOfView();
  const turn = (state.turn = {});
  clearTimeout(state.timer);
  const answer = await request(path, {etag: state.shown === path ? state.etag : null});
  if (state.turn !== turn) return;
  setClock(answer.date);
  if (answer.problem === "token" || answer.problem === "scope") askForToken(answer);
  else if (answer.problem && !isMissing(answer)) showFailure(answer);
  else tryToShow(path, answer);
  showAge();
  showToken();
}

// An answer that the page cannot show is no reason to stop asking, nor to look up to date.
function tryToShow(path, answer) {
  try {
    show(path, answer);
  } catch (failure) {
    console.error(failure);
    setBanner("This page cannot show the service\u2019s answer. Reload it: its version may be another one.");
    later(every);
  }
}

// The migration that the address names is not there: an answer, and no failure.
function isMissing(answer) {
  return ["BBM_ID_NOT_FOUND", "BBM_ID_INVALID"].includes(answer.error?.code);
}

function show(path, answer) {
  state.failures = 0;
  setBanner("");
  if (isMissing(answer)) showMissing(openedId());
  if (isMissing(answer) || answer.status === 304) answer.opened = state.shown !== path;
  else if (answer.body.migration) answer.opened = showOne(answer.body);
  else showAll(answer.body);
  state.shown = path;
  state.etag = answer.etag ?? (answer.status === 304 ? state.etag : null);
  state.shownAt = Date.now();
  const opened = openedId() !== null;
  const fresh = views[opened ? "one" : "list"].hidden;
  showView(opened ? "one" : "list");
  if (answer.opened && fresh) at("one-title")?.focus();
  if (!opened && state.cameFrom) list.querySelector(`a[href="#${state.cameFrom}"]`)?.focus();
  state.cameFrom = null;
  later(every);
}

function showAll(body) {
  showList(body);
  announce(body.migrations);
  refreshHistory();
}

function showFailure(answer) {
  state.failures++;
  const wait = Math.min(slowest, Math.max(every * state.failures, answer.retryAfter));
  const old = state.shown === null ? "" : " What is shown below is as old as it says.";
  setBanner(`${explain(answer)}${old} Trying again every few seconds.`);
  later(wait);
}

// ---- the token ----

function askForToken(answer) {
  const expired = Number(tokenClaims()?.exp) * 1000 < now();
  const why = {
    scope: "The token is good, but it does not allow reading background migrations.",
    token: !hasToken() ? "The migrations are shown to those who have a token that may read them."
      : expired ? "The token has run out." : "The service refuses this token. Its log says why.",
  }[answer.problem];
  setText(at("sign-in-title"), hasToken() ? "Another token is needed" : "A token is needed");
  setText(at("sign-in-why"), why);
  setBanner("");
  forgetShown();
  if (at("sign-in").hidden) {
    showView("signIn");
    at("token").focus();
  }
  say(why);
}

// Nothing that a token has shown stays on the page without it.
function forgetShown() {
  state.shown = state.etag = null;
  state.states.clear();
  document.title = "Background migrations";
  at("dialog").close();
  closeOne();
  showList({migrations: []});
}

at("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const good = setToken(at("token").value);
  at("token").value = "";
  if (good) refresh();
  else setText(at("sign-in-why"), "That is no token: it is one long word without spaces.");
});

at("forget").addEventListener("click", () => {
  setToken("");
  forgetShown();
  refresh();
});

// ---- when ----

window.addEventListener("hashchange", (event) => {
  if (takeTokenFromAddress()) forgetShown();
  else state.cameFrom = openedId(new URL(event.oldURL).hash);
  refresh();
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(state.timer) : refresh()));
at("refresh").addEventListener("click", refresh);
onChange(() => {
  state.etag = null; // what the token may do can have come out otherwise: show all of it again
  refresh();
});
setInterval(() => { showAge(); showToken(); showTimes(); }, 1000);

takeTokenFromAddress();
refresh();
