// @ts-check
/** Single-key shortcuts. They can be switched off (WCAG 2.1.4), and never act while typing. */

/**
 * @param {() => boolean} enabled
 * @param {Record<string, () => void>} actions By `KeyboardEvent.key`, letters in lower case.
 */
export function listen(enabled, actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !enabled()) return;
    const target = /** @type {Element} */ (event.target);
    if (document.querySelector("dialog[open]") || target.closest("input, select, textarea, details[open]")) return;
    // Space on a button presses that button.
    if (event.key === " " && target.closest("button, summary, a")) return;
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
