// SPDX-License-Identifier: MIT
// Text for people: elements, numbers, times. Nothing here knows of a request.

// An element. Children are nodes or text, and text is always text: nothing is parsed as HTML.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child));
  return element;
}

// Puts exactly these children (nodes or text) into the parent, and moves only what is out of place: what keeps its
// place keeps its focus.
export function place(parent, children) {
  const nodes = children.filter((child) => child).map((child) => (typeof child === "string" ? new Text(child) : child));
  const wanted = new Set(nodes);
  for (const node of [...parent.childNodes]) if (!wanted.has(node)) node.remove();
  nodes.forEach((node, i) => {
    if (parent.childNodes[i] !== node) parent.insertBefore(node, parent.childNodes[i] ?? null);
  });
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Control characters and those that turn the direction of writing would let a name look like
// another one. They are shown by their number.
const deceptive =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

export function clean(text) {
  return String(text ?? "").replace(deceptive, (c) => `\u27e8U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
}

// Text from the database or from a token, kept apart from the writing direction around it.
export function foreign(text, tag = "bdi") {
  return h(tag, {dir: "auto"}, clean(text));
}

// A name of the database's, which a narrow screen may break after an underscore or a dot.
export function named(text) {
  const parts = clean(text).split(/(?<=[_.])/);
  return h("bdi", {dir: "auto"}, ...parts.flatMap((part, i) => (i ? [h("wbr"), part] : [part])));
}

// A whole number with commas; one beyond 2^53 comes as a string, see client.js.
export function number(value) {
  return /^-?\d+$/.test(value) ? BigInt(value).toLocaleString("en") : clean(value);
}

export function count(n, one, many = `${one}s`) {
  return `${number(n)} ${String(n) === "1" ? one : many}`;
}

// Cut off and not rounded: 99.97 is not yet 100.
export function percent(value) {
  return `${(Math.floor(value * 10) / 10).toFixed(1)} %`;
}

const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

// The two largest units: "2 d 4 h", "3 min 20 s".
export function duration(seconds) {
  let rest = Math.max(0, Math.round(seconds));
  if (rest >= 3650 * 86400) return "more than ten years";
  const parts = [];
  const first = units.findIndex(([, size]) => rest >= size);
  if (first < 0) return "0 s";
  for (const [name, size] of units.slice(first, first + 2)) {
    if (rest >= size) parts.push(`${Math.floor(rest / size)} ${name}`);
    rest %= size;
  }
  return parts.join(" ");
}

// How far the clock of the service is ahead of this browser's, in milliseconds.
let ahead = 0;

export function setClock(date) {
  const there = Date.parse(date ?? "");
  if (!Number.isNaN(there)) ahead = there - Date.now();
}

export function now() {
  return Date.now() + ahead;
}

// A moment as "3 h 2 min ago", with the exact time as its title. The clocks are compared by the
// second, so a moment may seem to lie a little ahead.
export function moment(time) {
  const at = Date.parse(time);
  if (Number.isNaN(at)) return clean(time);
  const seconds = (now() - at) / 1000;
  const words = seconds < -5 ? `in ${duration(-seconds)}` : seconds < 2 ? "just now" : `${duration(seconds)} ago`;
  return h("time", {datetime: time, title: new Date(at).toLocaleString()}, words);
}

// Children with a separator between them, for a line of small facts.
export function line(className, ...parts) {
  const facts = parts.filter((part) => part);
  return h("p", {class: className}, ...facts.flatMap((part, i) => (i ? [" \u00b7 ", part] : [part])));
}
