// @ts-check
/** The choice of the spoken language and of the languages it is translated into. */

/** @typedef {import("./api.js").Language} Language */

/**
 * Codes that a source can be translated into. For "auto", whatever any spoken language reaches.
 * @param {Language[]} languages
 * @param {string} source
 * @returns {Set<string>}
 */
export function reachable(languages, source) {
  const spoken = languages.filter(({ code }) => source === "auto" || code === source);
  const codes = spoken.flatMap(({ code, targets }) =>
    source === "auto" ? targets : targets.filter((target) => target !== code),
  );
  return new Set(codes);
}

/**
 * The targets that remain when the source changes. Turning the direction round (en→pt becoming pt)
 * turns the target round with it.
 * @param {Language[]} languages
 * @param {string} source
 * @param {string} before The source until now.
 * @param {string[]} wanted
 */
export function follow(languages, source, before, wanted) {
  const possible = reachable(languages, source);
  const kept = wanted.filter((target) => possible.has(target));
  const turned = wanted.includes(source) && possible.has(before) && !kept.includes(before);
  return turned && kept.length === 0 ? [before] : kept;
}

/**
 * @typedef {object} Elements
 * @property {HTMLSelectElement} source
 * @property {HTMLDetailsElement} picker
 * @property {HTMLElement} summary
 * @property {HTMLElement} list
 * @property {HTMLInputElement} search
 * @property {HTMLElement} none Shown when nothing can be chosen.
 */

export class LanguageChoice {
  /** @type {Language[]} */ #languages = [];
  /** @type {string[]} What was asked for, also while the source can't reach it. */ #wanted = [];
  #elements;
  #changed;
  source = "auto";
  /** @type {string[]} */ targets = [];

  /**
   * @param {Elements} elements
   * @param {() => void} changed Called when the user has chosen.
   */
  constructor(elements, changed) {
    this.#elements = elements;
    this.#changed = changed;
    const { source, picker, search } = elements;
    source.addEventListener("change", () => this.#select(source.value));
    search.addEventListener("input", () => this.#filter());
    picker.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !picker.open) return;
      picker.open = false;
      picker.querySelector("summary")?.focus();
      event.stopPropagation();
    });
    document.addEventListener("pointerdown", ({ target }) => {
      if (target instanceof Node && !picker.contains(target)) picker.open = false;
    });
  }

  /**
   * @param {Language[]} languages
   * @param {{source: string, targets: string[]}} initially
   */
  load(languages, { source, targets }) {
    this.#languages = [...languages].sort((a, b) => a.name.localeCompare(b.name));
    const spoken = this.#languages.filter(({ speech }) => speech !== false);
    const options = spoken.map(({ code, name }) => new Option(name, code));
    this.#elements.source.replaceChildren(new Option("Detect language", "auto"), ...options);
    this.source = spoken.some(({ code }) => code === source) ? source : "auto";
    this.#elements.source.value = this.source;
    this.#wanted = targets;
    this.targets = follow(this.#languages, this.source, this.source, targets);
    this.#draw();
  }

  /** Whether there is nothing to choose from yet. */
  get empty() {
    return this.#languages.length === 0;
  }

  /** @param {string} code */
  name(code) {
    return this.#languages.find((language) => language.code === code)?.name ?? code;
  }

  /** @param {string} source */
  #select(source) {
    this.targets = follow(this.#languages, source, this.source, this.#wanted);
    if (this.targets.some((target) => !this.#wanted.includes(target))) this.#wanted = this.targets;
    this.source = source;
    this.#draw();
    this.#changed();
  }

  #draw() {
    const possible = reachable(this.#languages, this.source);
    const rows = [...possible].sort((a, b) => this.name(a).localeCompare(this.name(b)));
    this.#elements.list.replaceChildren(...rows.map((code) => this.#row(code)));
    this.#elements.search.hidden = rows.length <= 10;
    this.#elements.search.value = "";
    this.#elements.none.hidden = rows.length > 0;
    this.#summarise();
  }

  /** @param {string} code */
  #row(code) {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.value = code;
    box.checked = this.targets.includes(code);
    box.addEventListener("change", () => {
      this.targets = this.targets.filter((target) => target !== code);
      if (box.checked) this.targets.push(code);
      this.#wanted = [...this.targets];
      this.#summarise();
      this.#changed();
    });
    label.append(box, this.name(code));
    return label;
  }

  #filter() {
    const wanted = this.#elements.search.value.trim().toLowerCase();
    for (const label of this.#elements.list.children) {
      const shown = label.textContent?.toLowerCase().includes(wanted) ?? false;
      /** @type {HTMLElement} */ (label).hidden = !shown;
    }
  }

  #summarise() {
    const [first, ...more] = this.targets.map((code) => this.name(code));
    const rest = more.length > 1 ? `${more.length} more` : more[0];
    this.#elements.summary.textContent = first ? [first, rest].filter(Boolean).join(", ") : "No translation";
  }
}
