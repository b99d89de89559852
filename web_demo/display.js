// @ts-check
/** How captions look: colours, size, and which of the languages are shown. */

import { SIZES, savePreferences } from "./preferences.js";

/** @typedef {import("./preferences.js").Preferences} Preferences */

/**
 * @typedef {object} Elements
 * @property {HTMLButtonElement} theme
 * @property {HTMLButtonElement} smaller
 * @property {HTMLButtonElement} larger
 * @property {HTMLSelectElement} show
 * @property {HTMLInputElement} shortcuts
 */

export class Display {
  #preferences;
  #elements;
  #system = matchMedia("(prefers-color-scheme: dark)");

  /**
   * @param {Preferences} preferences Changed in place, and saved, with each choice.
   * @param {Elements} elements
   */
  constructor(preferences, elements) {
    this.#preferences = preferences;
    this.#elements = elements;
    const { theme, smaller, larger, show, shortcuts } = elements;
    theme.addEventListener("click", () => this.switchTheme());
    smaller.addEventListener("click", () => this.resize(-1));
    larger.addEventListener("click", () => this.resize(1));
    show.addEventListener("change", () => {
      this.#prefer({ show: /** @type {Preferences["show"]} */ (show.value) });
    });
    shortcuts.addEventListener("change", () => this.#prefer({ shortcuts: shortcuts.checked }));
    this.#system.addEventListener("change", () => this.#apply());
    this.#apply();
  }

  switchTheme() {
    this.#prefer({ theme: this.#dark ? "light" : "dark" });
  }

  /** @param {number} step */
  resize(step) {
    const size = Math.min(SIZES.length - 1, Math.max(0, this.#preferences.size + step));
    this.#prefer({ size });
  }

  get #dark() {
    const { theme } = this.#preferences;
    return theme ? theme === "dark" : this.#system.matches;
  }

  /** @param {Partial<Preferences>} change */
  #prefer(change) {
    Object.assign(this.#preferences, change);
    savePreferences(this.#preferences);
    this.#apply();
  }

  #apply() {
    const { theme, size, show, shortcuts } = this.#preferences;
    const root = document.documentElement;
    if (theme) root.dataset.theme = theme;
    root.style.setProperty("--caption", `${SIZES[size]}rem`);
    document.body.dataset.show = show;
    this.#elements.show.value = show;
    this.#elements.shortcuts.checked = shortcuts;
    this.#elements.theme.setAttribute("aria-pressed", String(this.#dark));
    this.#elements.smaller.disabled = size === 0;
    this.#elements.larger.disabled = size === SIZES.length - 1;
  }
}
