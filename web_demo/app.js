// @ts-check
/** Brings the parts together: the page's controls, one recording at a time, and its captions. */

import { languages, streamAddress } from "./api.js";
import { Captions } from "./captions.js";
import { Clock, Delay } from "./clock.js";
import { Display } from "./display.js";
import { LanguageChoice } from "./languages.js";
import { Meter } from "./meter.js";
import { Microphone } from "./microphone.js";
import { keepKey, loadPreferences, savePreferences, takeKey } from "./preferences.js";
import { Presentation, Wake } from "./presentation.js";
import { Session } from "./session.js";
import { listen } from "./shortcuts.js";
import { asText, asVtt, save } from "./transcript.js";
import { CaptionView } from "./view.js";
import { explain } from "./words.js";

/** @typedef {import("./socket.js").ServerEvent} ServerEvent */
/** @typedef {import("./session.js").Connection} Connection */
/** @typedef {"idle" | "starting" | import("./session.js").SessionState} State */

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
const $ = (id) => /** @type {T} */ (document.getElementById(id));

const STATUS = {
  idle: "Ready",
  starting: "Starting…",
  connecting: "Connecting…",
  live: "Listening",
  reconnecting: "Reconnecting…",
  stopping: "Finishing…",
  ended: "Ready",
};

const preferences = loadPreferences();
const microphone = new Microphone();
const wake = new Wake();
const start = /** @type {HTMLButtonElement} */ ($("start"));

let key = takeKey();
/** @type {State} */ let state = "idle";
/** @type {Session | null} */ let session = null;
/** @type {number[]} Sessions whose open captions go when they are heard anew. */ let broken = [];
let clock = new Clock();
let delays = { partial: new Delay(), final: new Delay(), translation: new Delay() };
let startWithKey = false;

const choice = new LanguageChoice(
  {
    source: $("source"),
    picker: $("picker"),
    summary: $("targets"),
    list: $("target-list"),
    search: $("search"),
    none: $("no-targets"),
  },
  () => {
    Object.assign(preferences, { source: choice.source, targets: choice.targets });
    savePreferences(preferences);
    session?.translateInto(choice.targets);
  },
);
const view = new CaptionView(
  { stage: $("stage"), list: $("captions"), latest: $("latest"), announcer: $("announcer") },
  (code) => choice.name(code),
);
const captions = new Captions((segment, gone) => {
  view.draw(segment, gone);
  const empty = captions.all.length === 0;
  for (const id of ["copy", "save-txt", "save-vtt", "clear"]) {
    /** @type {HTMLButtonElement} */ ($(id)).disabled = empty;
  }
});
const meter = new Meter($("meter"), () =>
  notice("No sound arrives from the microphone. Is it muted, or is another one meant?"),
);
const display = new Display(preferences, {
  theme: $("theme"),
  smaller: $("smaller"),
  larger: $("larger"),
  show: $("show"),
  shortcuts: $("shortcuts"),
});
const presentation = new Presentation($("leave"));

// ---------------------------------------------------------------- recording

async function begin() {
  if (!key) {
    startWithKey = true;
    askForKey();
    return;
  }
  hideBanner();
  enter("starting");
  try {
    if (choice.empty) await loadLanguages();
    await microphone.open({ frame: heard, lost: microphoneLost });
  } catch (error) {
    fail(error);
    return;
  }
  enter("connecting");
  const from = { sample_rate: microphone.sampleRate, source: choice.source, targets: choice.targets };
  const mine = new Session((returning) => streamAddress(key, returning), from, {
    state: (next) => next !== "ended" && enter(next),
    event: shown,
    lost: ({ id }) => broken.push(id),
    dropped: () => notice("Offline for too long: some of what was said could not be kept."),
    ended: (reason) => void finish(reason),
  });
  session = mine;
}

/** Stop hearing at once; captions follow until the last word is final. */
async function end() {
  if (state !== "live" && state !== "connecting" && state !== "reconnecting") return;
  const ending = session;
  await microphone.close();
  meter.reset();
  ending?.stop();
}

/** @param {Error | null} reason */
async function finish(reason) {
  session = null;
  broken = [];
  captions.settle();
  await microphone.close();
  if (reason) fail(reason);
  else enter("idle");
}

/** @param {unknown} fault */
function fail(fault) {
  const { text, key: otherKey } = explain(fault);
  if (otherKey) {
    key = "";
    keepKey("");
  }
  enter("idle");
  $("banner-text").textContent = text;
  $("banner-key").hidden = !otherKey;
  $("banner").hidden = false;
}

function microphoneLost() {
  notice("The microphone was disconnected.");
  void end();
}

/**
 * @param {ArrayBuffer} pcm
 * @param {number} level
 */
function heard(pcm, level) {
  const now = performance.now();
  const seconds = pcm.byteLength / 2 / microphone.sampleRate;
  meter.add(level, seconds, now);
  session?.audio(pcm, clock.advance(seconds, now));
  // Three seconds of audio that don't leave: the network is slower than the voice.
  if (session && session.waiting > 6 * microphone.sampleRate) {
    notice("Your network is slow: captions will be late.");
  }
}

/**
 * @param {ServerEvent} event
 * @param {Connection} connection
 */
function shown(event, connection) {
  if (event.type === "partial" || event.type === "final") {
    for (const id of broken.splice(0)) captions.forgetOpen(id);
  }
  if (event.type === "warning" || event.type === "error") notice(event.message);
  const segment = captions.apply(event, connection);
  const kind = event.type === "translation" && !event.final ? "" : event.type;
  if (segment && (kind === "partial" || kind === "final" || kind === "translation")) {
    delays[kind].add(clock.age(segment.end, performance.now()));
    showDelay();
  }
}

/** @param {State} next */
function enter(next) {
  state = next;
  const running = next !== "idle" && next !== "ended";
  document.body.dataset.state = next;
  document.body.classList.toggle("running", running);
  $("status").textContent = STATUS[next];
  $("start-label").textContent = running ? "Stop" : "Start";
  start.disabled = next === "starting" || next === "stopping";
  /** @type {HTMLSelectElement} */ ($("source")).disabled = running || choice.empty;
  wake.keep(running);
  if (!running) meter.reset();
}

function toggle() {
  if (state === "idle") void begin();
  else void end();
}

// ---------------------------------------------------------------- what is said beside the captions

let noticeTimer = 0;

/** @param {string} text */
function notice(text) {
  $("notice").textContent = text;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => ($("notice").textContent = ""), 8000);
}

function hideBanner() {
  $("banner").hidden = true;
}

function showDelay() {
  const shownDelay = delays.partial.median ?? delays.final.median;
  $("delay").hidden = shownDelay === null;
  $("delay-value").textContent = inSeconds(shownDelay);
  $("delay-partial").textContent = inSeconds(delays.partial.median);
  $("delay-final").textContent = inSeconds(delays.final.median);
  $("delay-translation").textContent = inSeconds(delays.translation.median);
}

/** @param {number | null} seconds */
function inSeconds(seconds) {
  return seconds === null ? "–" : `${seconds.toFixed(1)} s`;
}

// ---------------------------------------------------------------- key and languages

function askForKey() {
  /** @type {HTMLInputElement} */ ($("key-input")).value = key;
  /** @type {HTMLDialogElement} */ ($("key-dialog")).showModal();
}

async function loadLanguages() {
  choice.load(await languages(key), preferences);
  enter(state);
}

/** @param {string} given */
function useKey(given) {
  key = given;
  keepKey(key);
  hideBanner();
  if (startWithKey) void begin();
  else if (choice.empty) loadLanguages().catch(fail);
}

// ---------------------------------------------------------------- captions as a whole

function allText() {
  return asText(captions.all);
}

function fileName() {
  const now = new Date(Date.now() - new Date().getTimezoneOffset() * 60_000);
  return `surtitle-${now.toISOString().slice(0, 16).replace(":", "")}`;
}

async function copy() {
  if (captions.all.length === 0) return;
  try {
    await navigator.clipboard.writeText(allText());
    notice("Copied.");
  } catch {
    notice("The browser does not let this page copy; download the text instead.");
  }
}

function clear() {
  captions.clear();
  if (state === "idle") {
    clock = new Clock();
    delays = { partial: new Delay(), final: new Delay(), translation: new Delay() };
    showDelay();
  }
}

// ---------------------------------------------------------------- wiring

/** @type {Record<string, () => void>} */
const clicks = {
  start: toggle,
  present: () => presentation.toggle(),
  help: () => /** @type {HTMLDialogElement} */ ($("help-dialog")).showModal(),
  key: askForKey,
  "key-cancel": () => /** @type {HTMLDialogElement} */ ($("key-dialog")).close(),
  "banner-key": askForKey,
  "banner-close": hideBanner,
  copy: () => void copy(),
  "save-txt": () => save(`${fileName()}.txt`, "text/plain", allText()),
  "save-vtt": () => save(`${fileName()}.vtt`, "text/vtt", asVtt(captions.all)),
  clear: () => /** @type {HTMLDialogElement} */ ($("clear-dialog")).showModal(),
};
for (const [id, action] of Object.entries(clicks)) $(id).addEventListener("click", action);

$("delay").addEventListener("keydown", ({ key: pressed }) => {
  if (pressed === "Escape") $("delay").blur();
});
$("key-form").addEventListener("submit", () => {
  useKey(/** @type {HTMLInputElement} */ ($("key-input")).value.trim());
});
$("key-dialog").addEventListener("close", () => (startWithKey = false));
$("clear-form").addEventListener("submit", ({ submitter }) => {
  if (/** @type {HTMLButtonElement | null} */ (submitter)?.value === "clear") clear();
});
listen(() => preferences.shortcuts, {
  " ": toggle,
  f: () => presentation.toggle(),
  d: () => display.switchTheme(),
  c: () => void copy(),
  "+": () => display.resize(1),
  "=": () => display.resize(1),
  "-": () => display.resize(-1),
  End: () => $("latest").click(),
  "?": () => $("help").click(),
});

addEventListener("hashchange", () => {
  const given = takeKey();
  if (given !== key) useKey(given);
});
addEventListener("beforeunload", (event) => {
  if (state !== "idle") event.preventDefault();
});

enter("idle");
// Without a key the list may be refused; it is asked for again with one.
loadLanguages().catch((error) => {
  if (key) fail(error);
});
