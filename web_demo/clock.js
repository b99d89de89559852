// @ts-check
/** The recording's clock: seconds of audio captured, and when each of them was. */

/** How far back a moment can be looked up, in frames (about two minutes). */
const KEPT = 4096;

export class Clock {
  /** @type {{end: number, at: number}[]} */ #marks = [];
  #position = 0;

  /** Seconds captured so far. */
  get position() {
    return this.#position;
  }

  /**
   * @param {number} duration Seconds of a frame just captured.
   * @param {number} now `performance.now()`
   * @returns {{start: number, end: number}} Where the frame lies.
   */
  advance(duration, now) {
    const start = this.#position;
    this.#position += duration;
    this.#marks.push({ end: this.#position, at: now });
    if (this.#marks.length > KEPT) this.#marks.splice(0, KEPT / 4);
    return { start, end: this.#position };
  }

  /**
   * Seconds since the audio at `position` was captured, or null if that is no longer known.
   * @param {number} position
   * @param {number} now `performance.now()`
   */
  age(position, now) {
    const marks = this.#marks;
    if (marks.length === 0 || position < marks[0].end - 1) return null;
    let low = 0;
    let high = marks.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (marks[middle].end >= position) high = middle;
      else low = middle + 1;
    }
    const overshoot = marks[low].end - position;
    return Math.max(0, (now - marks[low].at) / 1000 + overshoot);
  }
}

/** The median of the last few delays. One slow caption should not frighten anybody. */
export class Delay {
  /** @type {number[]} */ #recent = [];

  /** @param {number | null} seconds */
  add(seconds) {
    if (seconds === null) return;
    this.#recent.push(seconds);
    if (this.#recent.length > 9) this.#recent.shift();
  }

  /** @returns {number | null} Seconds. */
  get median() {
    const sorted = [...this.#recent].sort((a, b) => a - b);
    return sorted.length === 0 ? null : sorted[sorted.length >> 1];
  }
}
