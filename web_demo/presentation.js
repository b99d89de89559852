// @ts-check
/** Nothing but captions on the screen, and a screen that stays awake. */

export class Presentation {
  #idle = 0;

  /** @param {HTMLElement} leave The button that ends it. */
  constructor(leave) {
    leave.addEventListener("click", () => this.leave());
    document.addEventListener("fullscreenchange", () => {
      if (!document.fullscreenElement) this.leave();
    });
    document.addEventListener("keydown", ({ key }) => {
      if (key === "Escape") this.leave();
    });
    document.addEventListener("pointermove", () => this.#stir());
  }

  get active() {
    return document.body.classList.contains("presenting");
  }

  toggle() {
    if (this.active) this.leave();
    else this.#enter();
  }

  #enter() {
    document.body.classList.add("presenting");
    this.#stir();
    // Phones without full screen still get the bare captions.
    document.documentElement.requestFullscreen?.().catch(() => {});
  }

  leave() {
    if (!this.active) return;
    document.body.classList.remove("presenting", "still");
    clearTimeout(this.#idle);
    if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
  }

  /** Pointer and button fade when nobody moves. */
  #stir() {
    if (!this.active) return;
    document.body.classList.remove("still");
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => document.body.classList.add("still"), 2500);
  }
}

/** Keeps the screen on while captions run. The browser lets go whenever the page is hidden. */
export class Wake {
  /** @type {WakeLockSentinel | null} */ #lock = null;
  #wanted = false;

  constructor() {
    document.addEventListener("visibilitychange", () => void this.#take());
  }

  /** @param {boolean} wanted */
  keep(wanted) {
    this.#wanted = wanted;
    if (wanted) {
      void this.#take();
    } else {
      this.#lock?.release().catch(() => {});
      this.#lock = null;
    }
  }

  async #take() {
    if (!this.#wanted || document.visibilityState !== "visible" || !("wakeLock" in navigator)) return;
    // Refused on a low battery; then the screen may sleep.
    this.#lock = await navigator.wakeLock.request("screen").catch(() => null);
  }
}
