// Enhances the dashboard's pages: updates them, counts running durations, and validates forms while
// they are filled in. Everything works without it. The server renders every page; this script fetches
// the page again after a change and replaces only what differs, so that focus, selection, scroll
// position and open elements stay.

const body = document.body;

// The time zone. The server formats times, and learns the reader's zone only from this cookie.
const zone = String(-new Date().getTimezoneOffset());
const zoneIsNew = body.dataset.zone !== undefined && body.dataset.zone !== zone;
if (zoneIsNew) document.cookie = `surefoot_zone=${zone}; path=/; max-age=31536000; samesite=lax`;

// Details opened or closed by the reader stay so, whatever the server renders.
const touched = new Set();
document.addEventListener("click", (event) => {
  const details = event.target.closest?.("summary")?.parentElement;
  if (details?.id) touched.add(details.id);
  for (const sheet of document.querySelectorAll("details.ask[open]")) {
    if (!sheet.contains(event.target)) sheet.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  const sheet = event.key === "Escape" && document.querySelector("details.ask[open]");
  if (!sheet) return;
  sheet.open = false;
  sheet.querySelector("summary").focus();
});

// Makes `old` equal to `fresh` with as few changes as possible.
function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || (old.id || "") !== (fresh.id || "")) {
    old.replaceWith(fresh.cloneNode(true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old.isEqualNode(fresh)) return;
  morphAttributes(old, fresh);
  const atEnd = old.matches("[data-tail]") && old.scrollHeight - old.scrollTop - old.clientHeight < 24;
  morphChildren(old, fresh);
  if (atEnd) old.scrollTop = old.scrollHeight;
}

function morphAttributes(old, fresh) {
  const keeps = (name) => name === "open" && touched.has(old.id);
  for (const { name, value } of [...fresh.attributes]) {
    if (!keeps(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!keeps(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
}

const key = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || "" : "");

// An element with a key keeps its identity and its input: it is moved, never turned into another one.
function morphChildren(old, fresh) {
  const kept = new Set([...fresh.childNodes].map(key));
  const known = new Map();
  for (const node of [...old.childNodes]) {
    const name = key(node);
    if (!kept.has(name)) node.remove();
    else if (name) known.set(name, node);
  }
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const wanted = key(next);
    const there = known.get(wanted);
    known.delete(wanted);
    if (there && there !== at) old.insertBefore(there, at), (at = there);
    if (!at || key(at) !== wanted) {
      old.insertBefore(next.cloneNode(true), at);
      continue;
    }
    const following = at.nextSibling;
    morph(at, next);
    at = following;
  }
  while (at) {
    const following = at.nextSibling;
    at.remove();
    at = following;
  }
}

// Live pages.
const MIN_INTERVAL = 500;
const MAX_INTERVAL = 15000;
// Time without a connection before a notice is shown, and delay before a refused connection is retried.
const NOTICE_DELAY = 5000;
let fetching = false;
let wanted = false;
let last = Date.now();
let took = 0;

async function refresh() {
  if (fetching || document.hidden) {
    wanted = true;
    return;
  }
  fetching = true;
  wanted = false;
  const began = Date.now();
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (answer.redirected && new URL(answer.url).pathname !== location.pathname) return location.reload();
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const old of document.querySelectorAll("[data-swap]")) {
      const fresh = page.getElementById(old.id);
      if (fresh) morph(old, fresh);
    }
    tick();
    count();
    if (source?.readyState === EventSource.OPEN) found();
  } catch {
    lost();
    // The stream may still be open, and idle for a long time.
    setTimeout(soon, NOTICE_DELAY / 2);
  } finally {
    fetching = false;
    last = Date.now();
    took = last - began;
    // Something changed during the fetch.
    if (wanted && !document.hidden) soon();
  }
}

function away(isAway) {
  let notice = document.querySelector(".away");
  if (!isAway) return notice?.remove();
  if (notice) return;
  notice = Object.assign(document.createElement("div"), { className: "note warning away", textContent: body.dataset.away });
  notice.setAttribute("role", "status");
  body.append(notice);
}

let timer = 0;
function soon() {
  wanted = true;
  // A slow server gets fewer requests.
  timer ||= setTimeout(() => {
    timer = 0;
    if (wanted) refresh();
  }, Math.max(0, Math.max(MIN_INTERVAL, 4 * took) - (Date.now() - last)));
}

// The server ends each stream periodically, and the browser reconnects within a second. That is not a loss.
let losing = 0;
function lost() {
  losing ||= setTimeout(() => away(true), NOTICE_DELAY);
}

function found() {
  clearTimeout(losing);
  losing = 0;
  away(false);
}

// A hidden tab has no stream: browsers open six connections per server, and the seventh page would hang.
let source;
let again = 0;
function listen() {
  clearTimeout(again);
  source?.close();
  if (document.hidden) return found();
  source = new EventSource(body.dataset.live);
  source.addEventListener("changed", soon);
  source.addEventListener("open", () => {
    // Changes in between were not signalled.
    if (losing) soon();
    found();
  });
  source.addEventListener("error", ({ target }) => {
    lost();
    // The browser reconnects after a broken connection, but not after a response that is not a stream.
    if (target === source && target.readyState === EventSource.CLOSED) again = setTimeout(listen, NOTICE_DELAY);
  });
}

if (body.dataset.live) {
  listen();
  document.addEventListener("visibilitychange", () => {
    listen();
    if (!document.hidden) soon();
  });
  setInterval(() => !document.hidden && Date.now() - last > MAX_INTERVAL && soon(), 1000);
  if (zoneIsNew) soon();
  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}

// Running durations, in the format of crates/server/src/dashboard/text.rs.
function written(millis) {
  const seconds = Math.floor(millis / 1000);
  const two = (number) => String(number).padStart(2, "0");
  if (seconds < 1) return `${Math.max(0, Math.floor(millis))} ms`;
  if (seconds < 10) return `${seconds}.${Math.floor((millis % 1000) / 100)} s`;
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${two(Math.floor((seconds % 3600) / 60))} m`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

// The reader's clock may be wrong, so elapsed time is measured from the server's time of the page.
let skew = 0;
function tick() {
  const clock = document.getElementById("clock");
  if (clock?.dataset.now && clock.dataset.now !== tick.seen) {
    tick.seen = clock.dataset.now;
    skew = Number(tick.seen) - Date.now();
  }
  for (const span of document.querySelectorAll("[data-since]")) {
    const text = written(Date.now() + skew - Number(span.dataset.since));
    if (span.textContent !== text) span.textContent = text;
  }
}
tick();
setInterval(tick, 1000);
for (const log of document.querySelectorAll("[data-tail]")) log.scrollTop = log.scrollHeight;

// On a phone the navigation is a scrolling row; scrolls the current entry into view.
for (const here of document.querySelectorAll("nav [aria-current]")) {
  const row = here.closest("nav");
  row.scrollLeft = here.offsetLeft - (row.clientWidth - here.offsetWidth) / 2;
}

// Choosing runs. Updated rows keep their selection; the number of selected runs is counted again.
const choosing = document.querySelector("form[action='/runs/bulk']");
const boxes = () => [...choosing.querySelectorAll("input[name=run]")];
function count() {
  const chooser = choosing?.querySelector("[data-choose-all]");
  if (!chooser) return 0;
  const chosen = boxes().filter((box) => box.checked).length;
  choosing.querySelector("[data-chosen]").textContent = `(${chosen})`;
  chooser.hidden = false;
  return chosen;
}
const chose = () => count() && (choosing.querySelector("input[value=chosen]").checked = true);
choosing?.addEventListener("click", (event) => {
  if (!event.target.closest("[data-choose-all]")) return;
  const all = boxes().every((box) => box.checked);
  for (const box of boxes()) box.checked = !all;
  chose();
});
choosing?.addEventListener("change", (event) => event.target.name === "run" && chose());
count();

// Forms: the browser's validation message is shown beside a field as soon as it loses focus.
for (const form of document.querySelectorAll("[data-form]")) {
  const filled = (name) => {
    const field = form.elements.namedItem(name);
    return field && (field.type === "checkbox" ? field.checked : field.value.trim() !== "");
  };
  const needs = () => {
    for (const field of form.querySelectorAll("[data-needs]")) {
      field.required = field.dataset.needs.split(" ").some(filled);
    }
  };
  const check = (field) => {
    if (field.matches("[data-json]")) {
      let wrong = "";
      try {
        if (field.value.trim() && /^[[{"]/.test(field.value.trim())) JSON.parse(field.value);
      } catch (error) {
        wrong = error.message;
      }
      field.setCustomValidity(wrong);
    }
    const id = `${field.id}-error`;
    let note = document.getElementById(id);
    const text = field.validity.valid ? "" : field.validationMessage;
    if (!text && !note) return;
    if (!note) {
      note = Object.assign(document.createElement("span"), { className: "wrong", id });
      field.after(note);
      field.setAttribute("aria-describedby", `${field.getAttribute("aria-describedby") ?? ""} ${id}`.trim());
    }
    note.textContent = text;
    if (text) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  };
  form.addEventListener("input", (event) => {
    needs();
    if (event.target.matches("[aria-invalid], [data-json]")) check(event.target);
  });
  form.addEventListener("change", (event) => event.target.id && event.target.validity && check(event.target));
  form.addEventListener("invalid", (event) => check(event.target), true);
  needs();
}
document.getElementById("errors")?.focus();
