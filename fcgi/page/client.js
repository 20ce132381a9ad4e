// SPDX-License-Identifier: MIT
// Requests to the API beside this page, and the token that they carry.

// This script lies in the folder bbm/, under whatever mount; the API is what lies beside that folder.
const api = new URL("../", import.meta.url);
const storage = "bbm-fcgi token";

// ---- the token: in this tab's memory and sessionStorage, nowhere else ----

let token = recall();
let refusedWrite = false; // the service has said that this token may not write

function recall() {
  try {
    return sessionStorage.getItem(storage);
  } catch {
    return null; // storage is switched off: the token lives as long as the page
  }
}

export function setToken(text) {
  // A pasted header or address is understood too.
  const found = text.trim().replace(/^(Authorization:\s*)?Bearer\s+/i, "").replace(/^.*#token=/, "");
  token = /^[\x21-\x7e]+$/.test(found) ? found : null;
  refusedWrite = false;
  try {
    if (token) sessionStorage.setItem(storage, token);
    else sessionStorage.removeItem(storage);
  } catch {
    // As above.
  }
  return token !== null;
}

// Takes #token=… from the address and wipes it there: out of sight, history and bookmarks.
export function takeTokenFromAddress() {
  const [, found] = /^#token=(.+)$/.exec(location.hash) ?? [];
  if (!found) return false;
  history.replaceState(null, "", location.pathname + location.search);
  return setToken(found);
}

// What the token says of itself. Only the service can judge it; this is for words on the page.
export function tokenClaims() {
  try {
    const part = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const bytes = Uint8Array.from(atob(part), (c) => c.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return typeof claims === "object" ? claims : null;
  } catch {
    return null;
  }
}

export function hasToken() {
  return token !== null;
}

// False where it is sure that a write would be refused. A token that a proxy adds is not seen here:
// then only the first refusal shows it.
export function mayWrite() {
  if (refusedWrite) return false;
  const claims = token && tokenClaims();
  if (!claims) return true;
  const access = Array.isArray(claims.access) ? claims.access : [];
  return access.some(
    (entry) =>
      entry?.type === "registry" && entry.name === "background-migrations" &&
      Array.isArray(entry.actions) && (entry.actions.includes("write") || entry.actions.includes("*")),
  );
}

// ---- requests ----

// Whole numbers of 16 digits and more become strings: a JavaScript number would round them.
function parse(text) {
  const exact = text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|-?\d{16,}(?![\d.eE])/g, (part) => (part[0] === '"' ? part : `"${part}"`));
  return JSON.parse(exact);
}

// What went wrong, as one of a few kinds that the page has words for; null where nothing did.
function problemOf(response, body) {
  if (response.type === "opaqueredirect") return "redirect";
  if (response.ok || response.status === 304) return body === undefined ? "foreign" : null;
  const error = body?.errors?.[0];
  if (!error) return "foreign"; // an answer of the web server's own: 502, 504, a page
  if (response.status === 401)
    return /error="insufficient_scope"/.test(response.headers.get("WWW-Authenticate") ?? "") ? "scope" : "token";
  if (error.code === "BBM_HELD") return "held";
  if (response.status === 503) return "unavailable";
  return response.status === 500 ? "fault" : "refused";
}

// Never throws: { problem, status, body, error, etag, next, id, retryAfter }.
export async function request(path, {method = "GET", query = {}, json, etag, key, seconds = 15} = {}) {
  const url = new URL(path, api);
  url.search = new URLSearchParams(query);
  const headers = {Accept: "application/json"};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (etag) headers["If-None-Match"] = etag;
  if (key) headers["Idempotency-Key"] = key;
  if (json) headers["Content-Type"] = "application/json";
  let response, text;
  try {
    response = await fetch(url, {
      method, headers, body: json && JSON.stringify(json), cache: "no-store", redirect: "manual",
      signal: AbortSignal.timeout(seconds * 1000),
    });
    text = await response.text();
  } catch (failure) {
    return {problem: failure.name === "TimeoutError" ? "timeout" : "unreachable", status: 0};
  }
  let body;
  try {
    body = response.status === 304 ? null : parse(text);
  } catch {
    // Not JSON: problemOf says so.
  }
  const problem = problemOf(response, body);
  if (problem === "scope" && method === "POST") refusedWrite = true;
  return {
    problem, body, status: response.status, error: body?.errors?.[0],
    etag: response.headers.get("ETag"), id: response.headers.get("X-Request-Id"), date: response.headers.get("Date"),
    retryAfter: Number(response.headers.get("Retry-After")) || 0,
    next: nextPage(response.headers.get("Link")),
  };
}

// The query of the next page. Its path is the service's own view, which a mount may have changed.
function nextPage(link) {
  const [, target] = /<([^>]*)>;\s*rel="?next"?/.exec(link ?? "") ?? [];
  return target ? Object.fromEntries(new URL(target, api).searchParams) : null;
}

// One sentence for people.
export function explain(answer) {
  const id = answer.id ? ` Request ${answer.id} in its log.` : "";
  const detail = typeof answer.error?.detail === "string" ? `: ${answer.error.detail}` : "";
  switch (answer.problem) {
    case "unreachable": return "The service does not answer: no connection to the web server.";
    case "timeout": return "The service does not answer: no reply in time.";
    case "redirect": return "The web server wants a sign-in of its own: reload this page.";
    case "foreign": return `The web server answers, but not the service behind it (status ${answer.status}).`;
    case "unavailable": return "The service answers, but cannot get at its database at this moment (503).";
    case "fault": return `The service has met an error of its own (500).${id}`;
    case "token": return hasToken() ? "The token is refused." : "No token was sent.";
    case "scope": return "The token is good, but does not allow this.";
    default: return `${answer.error?.message ?? "Not done"}${detail}.`;
  }
}
