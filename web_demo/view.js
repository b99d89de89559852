// @ts-check
/** Draws captions. Text reaches the page by textContent only. */

import { whole } from "./captions.js";

/** @typedef {import("./captions.js").Segment} Segment */
/** @typedef {import("./captions.js").Text} Text */

/** So near the bottom (in pixels) counts as reading along. */
const NEAR = 64;
/** Finals kept for screen readers; older ones have been read or missed. */
const ANNOUNCED = 6;

/**
 * @typedef {object} Elements
 * @property {HTMLElement} stage Scrolls.
 * @property {HTMLElement} list
 * @property {HTMLElement} latest The button back to the newest caption.
 * @property {HTMLElement} announcer A live region.
 */

export class CaptionView {
  /** @type {Map<string, HTMLElement>} */ #rows = new Map();
  /** @type {Set<string>} */ #announced = new Set();
  #elements;
  #following = true;
  #name;

  /**
   * @param {Elements} elements
   * @param {(code: string) => string} name A language's name.
   */
  constructor(elements, name) {
    this.#elements = elements;
    this.#name = name;
    const { stage, latest } = elements;
    stage.addEventListener("scroll", () => {
      this.#following = stage.scrollHeight - stage.scrollTop - stage.clientHeight < NEAR;
      if (this.#following) latest.hidden = true;
    });
    latest.addEventListener("click", () => {
      this.#following = true;
      this.#keepUp();
      stage.focus({ preventScroll: true });
    });
    new ResizeObserver(() => this.#keepUp()).observe(stage);
    new ResizeObserver(() => this.#keepUp()).observe(elements.list);
  }

  /**
   * @param {Segment} segment
   * @param {boolean} gone
   */
  draw(segment, gone) {
    if (gone) {
      this.#rows.get(segment.id)?.remove();
      this.#rows.delete(segment.id);
    } else {
      const row = this.#rows.get(segment.id) ?? this.#insert(segment);
      this.#fill(row, segment);
      this.#announce(segment);
    }
    this.#elements.list.hidden = this.#rows.size === 0;
    this.#keepUp();
  }

  /** @param {Segment} segment */
  #insert({ id }) {
    const row = document.createElement("li");
    row.className = "segment";
    const when = document.createElement("div");
    when.className = "when";
    when.append(document.createElement("time"), document.createElement("abbr"));
    const texts = document.createElement("div");
    texts.className = "texts";
    texts.append(paragraph("source"));
    row.append(when, texts);
    this.#rows.set(id, row);
    this.#elements.list.append(row);
    return row;
  }

  /**
   * @param {HTMLElement} row
   * @param {Segment} segment
   */
  #fill(row, segment) {
    row.classList.toggle("open", !segment.text.final);
    const time = /** @type {HTMLTimeElement} */ (row.querySelector("time"));
    setText(time, clock(segment.start));
    time.dateTime = `PT${segment.start.toFixed(1)}S`;
    const tag = /** @type {HTMLElement} */ (row.querySelector(".when abbr"));
    setText(tag, segment.language);
    tag.title = this.#name(segment.language);
    // The language is only worth a word where it changes.
    tag.hidden = row.previousElementSibling?.querySelector("abbr")?.textContent === segment.language;
    const texts = /** @type {HTMLElement} */ (row.querySelector(".texts"));
    write(/** @type {HTMLElement} */ (texts.firstElementChild), segment.text, segment.language);
    for (const [target, text] of segment.translations) {
      let line = [...texts.children].find((child) => /** @type {HTMLElement} */ (child).dataset.target === target);
      if (!line) {
        line = paragraph("translation");
        /** @type {HTMLElement} */ (line).dataset.target = target;
        /** @type {HTMLElement} */ (line).dataset.name = this.#name(target);
        texts.append(line);
      }
      write(/** @type {HTMLElement} */ (line), text, target);
    }
    texts.classList.toggle("many", segment.translations.size > 1);
  }

  /**
   * Say each final once: the text, then its translations as they come.
   * @param {Segment} segment
   */
  #announce(segment) {
    const said = /** @type {[string, Text][]} */ ([[segment.language, segment.text], ...segment.translations]);
    for (const [language, text] of said) {
      const id = `${segment.id}:${language}`;
      if (!text.final || this.#announced.has(id) || whole(text) === "") continue;
      this.#announced.add(id);
      const line = document.createElement("p");
      line.lang = language;
      line.textContent = whole(text);
      const { announcer } = this.#elements;
      announcer.append(line);
      while (announcer.childElementCount > ANNOUNCED) announcer.firstElementChild?.remove();
    }
  }

  #keepUp() {
    const { stage, latest } = this.#elements;
    if (this.#following) {
      stage.scrollTop = stage.scrollHeight;
      latest.hidden = true;
    } else {
      latest.hidden = this.#rows.size === 0;
    }
  }
}

/** @param {string} kind */
function paragraph(kind) {
  const line = document.createElement("p");
  line.className = kind;
  line.dir = "auto";
  for (const part of ["stable", "unstable"]) {
    const span = document.createElement("span");
    span.className = part;
    line.append(span);
  }
  return line;
}

/**
 * @param {HTMLElement} line
 * @param {Text} text
 * @param {string} language
 */
function write(line, text, language) {
  if (line.lang !== language) line.lang = language;
  const [stable, unstable] = line.children;
  setText(stable, text.stable.trimStart());
  setText(unstable, text.stable.trim() === "" ? text.unstable.trimStart() : text.unstable);
}

/**
 * Untouched text keeps its selection, and costs no layout.
 * @param {Element} element
 * @param {string} text
 */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {number} seconds */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const padded = String(rest).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${padded}` : `${minutes}:${padded}`;
}
