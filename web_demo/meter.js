// @ts-check
/** The microphone's level as a short history of bars. */

const BARS = 26;
/** Below this RMS (−72 dBFS) a microphone is muted rather than quiet. */
const DEAD = 0.00025;
/** Seconds of that before it is worth a word. */
const PATIENCE = 6;

export class Meter {
  /** @type {HTMLElement[]} */ #bars = [];
  /** @type {number[]} */ #levels = Array(BARS).fill(0);
  #element;
  #peak = 0;
  #drawn = 0;
  #told = 0;
  #dead = 0;
  #mute;

  /**
   * @param {HTMLElement} element
   * @param {() => void} mute Called once when the microphone delivers nothing but silence.
   */
  constructor(element, mute) {
    this.#element = element;
    this.#mute = mute;
    for (let i = 0; i < BARS; i += 1) {
      const bar = document.createElement("span");
      element.append(bar);
      this.#bars.push(bar);
    }
    this.reset();
  }

  /**
   * @param {number} level RMS, 0…1.
   * @param {number} seconds How long the frame was.
   * @param {number} now `performance.now()`
   */
  add(level, seconds, now) {
    this.#peak = Math.max(this.#peak, level);
    this.#dead = level < DEAD ? this.#dead + seconds : 0;
    if (this.#dead > PATIENCE && this.#dead - seconds <= PATIENCE) this.#mute();
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (now - this.#drawn < (calm ? 500 : 66)) return;
    this.#drawn = now;
    this.#levels.push(loudness(this.#peak));
    this.#levels.shift();
    this.#peak = 0;
    this.#draw();
    if (now - this.#told > 1000) {
      this.#told = now;
      this.#element.setAttribute("aria-valuenow", String(Math.round(this.#levels[BARS - 1] * 100)));
    }
  }

  reset() {
    this.#levels.fill(0);
    this.#dead = 0;
    this.#element.setAttribute("aria-valuenow", "0");
    this.#draw();
  }

  #draw() {
    this.#bars.forEach((bar, i) => {
      bar.style.transform = `scaleY(${Math.max(0.1, this.#levels[i]).toFixed(3)})`;
    });
  }
}

/**
 * −60…−6 dBFS as 0…1, the range in which speech lives, bent so that its syllables can be told apart.
 * @param {number} rms
 */
function loudness(rms) {
  const decibels = 20 * Math.log10(Math.max(rms, 1e-6));
  return Math.min(1, Math.max(0, (decibels + 60) / 54)) ** 2;
}
