// @ts-check
/** What has been said, segment by segment. Knows the events and nothing of the page. */

/** @typedef {import("./socket.js").ServerEvent} ServerEvent */

/**
 * @typedef {object} Text A caption is `stable + unstable`.
 * @property {string} stable
 * @property {string} unstable
 * @property {boolean} final
 */

/**
 * @typedef {object} Segment
 * @property {string} id
 * @property {number} connection
 * @property {number} start Seconds of the recording.
 * @property {number} end
 * @property {string} language
 * @property {Text} text
 * @property {Map<string, Text>} translations By target.
 */

/** @param {Text} text */
export function whole({ stable, unstable }) {
  return (stable + unstable).trim();
}

export class Captions {
  /** @type {Map<string, Segment>} In the order they were first heard of. */
  #segments = new Map();

  /** @param {(segment: Segment, gone: boolean) => void} changed */
  constructor(changed) {
    this.changed = changed;
  }

  /** @returns {Segment[]} */
  get all() {
    return [...this.#segments.values()];
  }

  /**
   * Apply a `partial`, `final` or `translation`; others are ignored.
   * @param {ServerEvent} event
   * @param {{id: number, origin: number | null}} connection
   * @returns {Segment | null} The segment it belonged to.
   */
  apply(event, { id: connection, origin }) {
    const id = `${connection}:${event.segment}`;
    if (event.type === "partial" || event.type === "final") {
      const segment = this.#segments.get(id) ?? blank(id, connection);
      segment.start = (origin ?? 0) + event.start;
      segment.end = (origin ?? 0) + event.end;
      segment.language = event.language;
      segment.text =
        event.type === "final"
          ? { stable: event.text, unstable: "", final: true }
          : { stable: event.stable, unstable: event.unstable, final: false };
      if (event.type === "final" && whole(segment.text) === "") this.#remove(segment);
      else this.#put(segment);
      return segment;
    }
    if (event.type === "translation") {
      const segment = this.#segments.get(id);
      if (!segment) return null;
      segment.translations.set(event.target, translated(event));
      this.changed(segment, false);
      return segment;
    }
    return null;
  }

  /**
   * Take away what a lost connection left unfinished: another one is hearing it again.
   * @param {number} connection
   */
  forgetOpen(connection) {
    for (const segment of this.all) {
      if (segment.connection === connection && !segment.text.final) this.#remove(segment);
    }
  }

  /** Nothing more will come: what is open stays as it is. */
  settle() {
    for (const segment of this.all) {
      const open = [segment.text, ...segment.translations.values()].filter((text) => !text.final);
      for (const text of open) {
        Object.assign(text, { stable: whole(text), unstable: "", final: true });
      }
      if (whole(segment.text) === "") this.#remove(segment);
      else if (open.length > 0) this.changed(segment, false);
    }
  }

  clear() {
    for (const segment of this.all) this.#remove(segment);
  }

  /** @param {Segment} segment */
  #put(segment) {
    this.#segments.set(segment.id, segment);
    this.changed(segment, false);
  }

  /** @param {Segment} segment */
  #remove(segment) {
    if (this.#segments.delete(segment.id)) this.changed(segment, true);
  }
}

/**
 * @param {string} id
 * @param {number} connection
 * @returns {Segment}
 */
function blank(id, connection) {
  const text = { stable: "", unstable: "", final: false };
  return { id, connection, start: 0, end: 0, language: "", text, translations: new Map() };
}

/**
 * @param {ServerEvent} event
 * @returns {Text}
 */
function translated({ text, final, stable, unstable }) {
  if (final) return { stable: text, unstable: "", final: true };
  if (typeof stable === "string") return { stable, unstable: unstable ?? "", final: false };
  return { stable: "", unstable: text, final: false };
}
