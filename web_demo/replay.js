// @ts-check
/**
 * The audio that may have to be sent (again).
 *
 * A lost connection takes the utterance with it that was being spoken. So frames are kept until a
 * final covers them, and a new connection gets them once more: nothing that was said is lost.
 * All times are seconds on the recording's own clock.
 */

/** @typedef {{pcm: ArrayBuffer, start: number, end: number, sent: boolean}} Frame */

/** Audio from before the voice detector's onset, so that first words are whole. */
const LEAD_IN = 0.5;

export class Replay {
  /** @type {Frame[]} */ #frames = [];
  /** @type {number | null} Where audio begins that no final covers yet. */ #open = null;
  #speaking = false;

  /**
   * @param {number} limit The most to keep, in seconds.
   * @param {number} idle How much of mere silence to keep, in seconds.
   */
  constructor(limit = 30, idle = 2) {
    this.limit = limit;
    this.idle = idle;
  }

  /**
   * Keep a frame.
   * @param {Frame} frame
   * @returns {number} Seconds of audio never sent that had to be given up for it.
   */
  push(frame) {
    this.#frames.push(frame);
    const needed = this.#open === null ? frame.end - this.idle : this.#open;
    let lost = 0;
    while (this.#frames.length > 0) {
      const first = this.#frames[0];
      const tooMuch = frame.end - first.start > this.limit;
      if (!tooMuch && (first.end > needed || !first.sent)) break;
      if (!first.sent) lost += first.end - first.start;
      this.#frames.shift();
    }
    return lost;
  }

  /** @param {number} at */
  speechStarted(at) {
    this.#speaking = true;
    this.#open ??= at - LEAD_IN;
  }

  speechEnded() {
    this.#speaking = false;
  }

  /** @param {number} end Where the final's audio ends. */
  finalised(end) {
    this.#open = this.#speaking ? end : null;
  }

  /** Everything a new connection should hear, oldest first; it then counts as sent. */
  take() {
    this.#speaking = false;
    for (const frame of this.#frames) frame.sent = true;
    return [...this.#frames];
  }
}
