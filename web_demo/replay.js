// @ts-check
/**
 * The audio that may have to be sent (again).
 *
 * A lost connection, or a server that dies, takes audio with it that was still to be captioned. So
 * frames are kept for a while: a session that goes on says from where it needs them, and a new one
 * gets what no final covers. Times are seconds on the recording's own clock, places are bytes.
 */

/** @typedef {{pcm: ArrayBuffer, start: number, end: number, at: number, sent: boolean}} Frame */

/** Audio from before the voice detector's onset, so that first words are whole. */
const LEAD_IN = 0.5;
/** Seconds that are kept in any case: a session that goes on elsewhere may ask for them. */
const KEPT = 20;

export class Replay {
  /** @type {Frame[]} */ #frames = [];
  /** @type {number | null} Where audio begins that no final covers yet. */ #open = null;
  #speaking = false;
  #length = 0;

  /**
   * @param {number} limit The most to keep, in seconds.
   * @param {number} idle How much of mere silence a new session hears, in seconds.
   */
  constructor(limit = 90, idle = 2) {
    this.limit = limit;
    this.idle = idle;
  }

  /**
   * Keep a frame.
   * @param {{pcm: ArrayBuffer, start: number, end: number, sent: boolean}} given
   * @returns {{frame: Frame, lost: number}} Seconds of audio never sent that were given up for it.
   */
  push(given) {
    const frame = { ...given, at: this.#length };
    this.#length += frame.pcm.byteLength;
    this.#frames.push(frame);
    const needed = Math.min(this.#open ?? frame.end, frame.end - KEPT);
    let lost = 0;
    while (this.#frames.length > 0) {
      const first = this.#frames[0];
      const tooMuch = frame.end - first.start > this.limit;
      if (!tooMuch && (first.end > needed || !first.sent)) break;
      if (!first.sent) lost += first.end - first.start;
      this.#frames.shift();
    }
    return { frame, lost };
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

  /** @param {number} end Where a session has ended, of which everything is final. */
  ended(end) {
    this.#open = end;
  }

  /** Everything a new session should hear, oldest first; it then counts as sent. */
  take() {
    const end = this.#frames.at(-1)?.end ?? 0;
    const from = this.#open ?? end - this.idle;
    const heard = this.#frames.filter((frame) => !frame.sent || frame.end > from);
    this.#speaking = false;
    this.#open = null;
    for (const frame of this.#frames) frame.sent = true;
    return heard;
  }

  /**
   * Everything from a place on; it then counts as sent.
   * @param {number} place
   * @returns {ArrayBuffer[] | null} Null when it is not kept any more.
   */
  after(place) {
    const first = this.#frames[0];
    if (place > this.#length || place < (first?.at ?? this.#length)) return null;
    /** @type {ArrayBuffer[]} */ const parts = [];
    for (const frame of this.#frames) {
      frame.sent = true;
      const skipped = Math.max(0, place - frame.at);
      if (skipped < frame.pcm.byteLength) parts.push(skipped ? frame.pcm.slice(skipped) : frame.pcm);
    }
    return parts;
  }
}
