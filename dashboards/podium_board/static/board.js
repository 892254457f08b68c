"use strict";
// Pages work without this. With it they follow the sweep: the board tells when something has changed, and each part
// that is on the screen is fetched again and merged into what is there, so that focus, scroll and open details stay.
// What takes long to make is fetched once, when it is first on the screen (data-once).

const root = document.documentElement;
const parts = [...document.querySelectorAll("[data-live]")];
const seen = new Set();
const tags = new Map();
const late = new Map();
let edition = -1;

// theme

const THEMES = ["auto", "light", "dark"];
const button = document.getElementById("theme");
function nameTheme() {
  button.textContent = `Theme: ${root.dataset.theme || "auto"}`;
}
button.hidden = false;
button.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(root.dataset.theme || "auto") + 1) % THEMES.length];
  if (next === "auto") {
    delete root.dataset.theme;
    localStorage.removeItem("podium-theme");
  } else {
    root.dataset.theme = next;
    localStorage.setItem("podium-theme", next);
  }
  nameTheme();
});
nameTheme();

// forms that only choose are sent by choosing

for (const select of document.querySelectorAll("form.choose select")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// merging

function merge(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || (old.id || "") !== (fresh.id || "")) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.isEqualNode(fresh)) return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  mergeChildren(old, fresh);
}

function mergeChildren(old, fresh) {
  const byId = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const known = next.id ? byId.get(next.id) : at;
    if (!known || (!next.id && known.id)) {
      old.insertBefore(next, at);
      continue;
    }
    if (known !== at) old.insertBefore(known, at);
    const after = known === at ? at.nextSibling : at;
    merge(known, next);
    at = after;
  }
  while (at) {
    const after = at.nextSibling;
    at.remove();
    at = after;
  }
}

// fetching

async function refresh(part) {
  const asked = edition;
  const began = performance.now();
  const headers = tags.has(part) ? { "If-None-Match": tags.get(part) } : {};
  const answer = await fetch(part.dataset.live, { headers, cache: "no-store" });
  if (answer.status === 200) {
    tags.set(part, answer.headers.get("ETag"));
    const fresh = part.cloneNode(false);
    fresh.innerHTML = await answer.text();
    mergeChildren(part, fresh);
    tellAge();
  }
  if (answer.status === 404 && part.id === "banner") location.reload(); // the sweep is gone
  part.dataset.edition = asked;
  const took = performance.now() - began;
  late.set(part, performance.now() + (isSlow(part) ? Math.max(2000, 10 * took) : 2 * took));
}

async function once(part) {
  watcher.unobserve(part);
  part.setAttribute("aria-busy", "true");
  try {
    await refresh(part);
  } catch {
    setTimeout(() => watcher.observe(part), 2000);
  } finally {
    part.removeAttribute("aria-busy");
  }
}

// charts take long, and do not keep the figures waiting
const isSlow = (part) => part.hasAttribute("data-slow");
const busy = new Set();
let again = 0;

function refreshAll() {
  refreshThose(false);
  refreshThose(true);
  clearTimeout(again);
  if (parts.some(isBehind)) again = setTimeout(refreshAll, 250);
}

async function refreshThose(slow) {
  if (busy.has(slow)) return;
  busy.add(slow);
  try {
    for (let part = next(slow); part; part = next(slow)) await refresh(part);
  } catch {
    // the stream says when the board is back
  } finally {
    busy.delete(slow);
  }
}

// what is on the screen, or would be if it had anything to show; the rest is drawn once, and so are charts of a ledger
// that is still read
function isBehind(part) {
  if (part.dataset.edition === undefined) return edition >= 0;
  if (isSlow(part) && document.querySelector("[data-partial]")) return false;
  return Number(part.dataset.edition) !== edition && (seen.has(part) || part.querySelector(".nothing"));
}

function next(slow) {
  const due = parts.filter((part) => isSlow(part) === slow && isBehind(part) && performance.now() >= (late.get(part) ?? 0));
  return document.hidden ? null : due.find((part) => seen.has(part)) ?? due[0];
}

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting && entry.target.hasAttribute("data-once")) once(entry.target);
    else if (entry.isIntersecting) seen.add(entry.target);
    else seen.delete(entry.target);
  }
  refreshAll();
}, { rootMargin: "200px" });
parts.forEach((part) => watcher.observe(part));

// how old what cannot be brought up to date is

function tellAge() {
  const told = document.querySelector("time[data-age]");
  document.body.classList.toggle("stale", Boolean(document.querySelector(".banner.bad.gone")));
  if (!told) return;
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(told.dateTime)) / 1000));
  const [amount, unit] = seconds < 120 ? [seconds, "s"] : seconds < 7200 ? [Math.round(seconds / 60), "min"] : [Math.round(seconds / 3600), "h"];
  told.textContent = `${told.title} (${amount} ${unit} ago)`;
}
setInterval(tellAge, 500);

// the stream

const watched = document.body.dataset.watched;
const pulse = document.getElementById("pulse");
let stream = null;

function follow() {
  if (watched === undefined || stream || document.hidden) return;
  stream = new EventSource(`/live?sweep=${encodeURIComponent(watched)}`);
  stream.onmessage = (message) => {
    const told = JSON.parse(message.data).edition;
    pulse.hidden = false;
    pulse.textContent = "live";
    if (told === edition) return;
    edition = told;
    if (edition > 0 && document.querySelector("[data-reload]")) location.reload();
    refreshAll();
  };
  stream.onerror = () => {
    pulse.hidden = false;
    pulse.textContent = "the board is away";
  };
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden && stream) {
    stream.close();
    stream = null;
    pulse.textContent = "paused";
  } else follow();
});
follow();
