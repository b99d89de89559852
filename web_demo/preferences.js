// @ts-check
/** What the page remembers. Preferences stay in this browser; the key only in this tab. */

/**
 * @typedef {object} Preferences
 * @property {"light" | "dark" | null} theme Null follows the system.
 * @property {number} size Step of the caption size, an index into SIZES.
 * @property {string} source
 * @property {string[]} targets
 * @property {"both" | "source" | "translation"} show
 * @property {boolean} shortcuts
 */

/** Caption sizes in rem. */
export const SIZES = [1.125, 1.375, 1.75, 2.25, 2.875, 3.75, 5];

const NAME = "surtitle";
const KEY = "surtitle-key";

/** @type {Preferences} */
const DEFAULTS = { theme: null, size: 2, source: "auto", targets: [], show: "both", shortcuts: true };

/** @returns {Preferences} */
export function loadPreferences() {
  try {
    const stored = JSON.parse(localStorage.getItem(NAME) ?? "{}");
    const known = Object.entries(DEFAULTS).map(([name, initial]) => {
      const value = stored[name];
      const fits = name === "theme" || (typeof value === typeof initial && value !== null);
      return [name, value !== undefined && fits ? value : initial];
    });
    const preferences = Object.fromEntries(known);
    if (!(preferences.size in SIZES)) preferences.size = DEFAULTS.size;
    if (!Array.isArray(preferences.targets)) preferences.targets = [];
    return preferences;
  } catch {
    return { ...DEFAULTS };
  }
}

/** @param {Preferences} preferences */
export function savePreferences(preferences) {
  try {
    localStorage.setItem(NAME, JSON.stringify(preferences));
  } catch {
    // Private windows may have no storage; nothing is lost but the convenience.
  }
}

/**
 * The API key: from `#key=…`, which is at once removed from the address bar, or this tab's own.
 * @returns {string}
 */
export function takeKey() {
  const given = /^#(?:.*&)?key=([^&]*)/.exec(location.hash)?.[1];
  if (given === undefined) return sessionStorage.getItem(KEY) ?? "";
  history.replaceState(history.state, "", location.pathname + location.search);
  let key = given;
  try {
    key = decodeURIComponent(given);
  } catch {
    // A stray percent sign: then it was not encoded.
  }
  keepKey(key.trim());
  return key.trim();
}

/** @param {string} key Empty forgets it. */
export function keepKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}
