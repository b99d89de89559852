// @ts-check
/**
 * A recording as the page sees it: one or, when the network fails, several connections.
 *
 * A lost connection is followed by a new session, which hears again what no final had covered yet.
 */

import { Refused } from "./api.js";
import { Replay } from "./replay.js";
import { Socket } from "./socket.js";

/** @typedef {import("./socket.js").ServerEvent} ServerEvent */
/** @typedef {"connecting" | "live" | "reconnecting" | "stopping" | "ended"} SessionState */

/**
 * @typedef {object} SessionHandlers
 * @property {(state: SessionState) => void} state
 * @property {(event: ServerEvent, connection: Connection) => void} event
 * @property {(connection: Connection) => void} lost The connection broke; another will be tried.
 * @property {(seconds: number) => void} dropped Audio that could not be kept for a new connection.
 * @property {(reason: Error | null) => void} ended The last call. Null after a stop that went well.
 */

/**
 * @typedef {object} Connection
 * @property {number} id Tells the segments of one connection from those of another.
 * @property {number | null} origin The recording's second at which its audio began.
 */

const ATTEMPTS = 8;
const LONGEST_WAIT = 15;
/** How long the server may take over the last finals, in milliseconds. */
const PATIENCE = 30_000;
/** A phone call may silence the microphone for long; the server must not think we left. */
const KEEPALIVE = 20_000;

/** Ids are unique over all recordings of the page. */
let connections = 0;

/** A fatal `error` event. */
export class Fatal extends Error {
  /** @param {ServerEvent} event */
  constructor(event) {
    super(String(event.message ?? event.code));
    this.code = String(event.code);
    /** @type {number | null} */ this.retryAfter = event.retry_after ?? null;
  }
}

/** The connection was lost (or refused), and trying again did not help. */
export class Lost extends Error {
  /** @param {"refused" | "lost" | "unfinished"} how */
  constructor(how) {
    super(how);
    this.how = how;
  }
}

export class Session {
  #address;
  #start;
  #on;
  #replay = new Replay();
  /** @type {Socket | null} */ #socket = null;
  /** @type {Connection} */ #connection = { id: 0, origin: null };
  /** @type {SessionState} */ #state = "connecting";
  #ready = false;
  #everReady = false;
  #attempt = 0;
  #timer = 0;
  #pulse = setInterval(() => this.#ready && this.#socket?.keepalive(), KEEPALIVE);
  #hurry = () => {
    if (this.#state === "reconnecting" && this.#timer) this.#retry(0);
  };

  /**
   * @param {() => Promise<URL>} address Mints a ticket; called for each connection.
   * @param {{encoding?: string, sample_rate: number, source: string, targets: string[]}} start
   * @param {SessionHandlers} on
   */
  constructor(address, start, on) {
    this.#address = address;
    this.#start = { ...start };
    this.#on = on;
    addEventListener("online", this.#hurry);
    void this.#connect();
  }

  /**
   * Send a frame, now or as soon as there is a connection.
   * @param {ArrayBuffer} pcm
   * @param {{start: number, end: number}} span Where it lies in the recording, in seconds.
   */
  audio(pcm, span) {
    if (this.#state === "ended" || this.#state === "stopping") return;
    const frame = { pcm, ...span, sent: this.#ready };
    const lost = this.#replay.push(frame);
    if (lost > 0) this.#on.dropped(lost);
    if (this.#ready) this.#send(frame);
  }

  /** @param {string[]} targets */
  translateInto(targets) {
    this.#start.targets = targets;
    if (this.#ready) this.#socket?.configure({ targets });
  }

  /** Bytes of audio that the network has not taken yet. */
  get waiting() {
    return this.#socket?.waiting ?? 0;
  }

  /** No more audio. `ended` follows the last final. */
  stop() {
    if (this.#state === "ended" || this.#state === "stopping") return;
    if (!this.#ready) {
      this.#end(this.#everReady ? new Lost("unfinished") : null);
      return;
    }
    this.#enter("stopping");
    this.#socket?.stop();
    this.#timer = setTimeout(() => this.#end(new Lost("unfinished")), PATIENCE);
  }

  async #connect() {
    this.#timer = 0;
    const connection = { id: (connections += 1), origin: null };
    this.#connection = connection;
    let url;
    try {
      url = await this.#address();
    } catch (error) {
      if (this.#state !== "ended") this.#failed(/** @type {Error} */ (error));
      return;
    }
    if (/** @type {SessionState} */ (this.#state) === "ended") return;
    this.#socket = new Socket(url, this.#start, {
      event: (event) => this.#receive(event, connection),
      closed: ({ opened }) => this.#closed(opened, connection),
    });
  }

  /**
   * @param {ServerEvent} event
   * @param {Connection} connection
   */
  #receive(event, connection) {
    const origin = connection.origin ?? 0;
    const started = this.#ready;
    if (event.type === "ready") this.#begin();
    else if (event.type === "speech_started") this.#replay.speechStarted(origin + event.at);
    else if (event.type === "speech_ended") this.#replay.speechEnded();
    else if (event.type === "final") this.#replay.finalised(origin + event.end);
    this.#on.event(event, connection);
    if (event.type === "done") this.#end(null);
    else if (event.type === "error") {
      // A server that goes away closes the connection, and another one goes on.
      const leaving = event.code === "draining" && this.#state !== "stopping";
      // An error before `ready` is a refused `start`: nothing would ever come.
      if ((event.fatal || !started) && !leaving) this.#end(new Fatal(event));
    }
  }

  #begin() {
    this.#ready = true;
    this.#everReady = true;
    this.#attempt = 0;
    for (const frame of this.#replay.take()) this.#send(frame);
    this.#enter("live");
  }

  /** @param {import("./replay.js").Frame} frame */
  #send(frame) {
    this.#connection.origin ??= frame.start;
    this.#socket?.audio(frame.pcm);
  }

  /**
   * @param {boolean} opened
   * @param {Connection} connection
   */
  #closed(opened, connection) {
    this.#socket = null;
    this.#ready = false;
    if (this.#state === "ended") return;
    if (this.#state === "stopping") {
      this.#end(new Lost("unfinished"));
      return;
    }
    this.#on.lost(connection);
    this.#failed(new Lost(opened ? "lost" : "refused"));
  }

  /** @param {Error} error */
  #failed(error) {
    const final = error instanceof Refused && !error.retryable;
    // A first attempt that fails is told at once: the user stands beside the button.
    if (final || !this.#everReady || this.#attempt >= ATTEMPTS) {
      this.#end(error);
      return;
    }
    this.#enter("reconnecting");
    const asked = error instanceof Refused ? (error.retryAfter ?? 0) : 0;
    const backoff = Math.min(LONGEST_WAIT, 0.5 * 2 ** this.#attempt);
    this.#attempt += 1;
    // Jitter, so that a restarted server is not met by all its clients at once.
    this.#retry(Math.max(asked, backoff * (0.5 + Math.random() / 2)));
  }

  /** @param {number} seconds */
  #retry(seconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#connect(), seconds * 1000);
  }

  /** @param {SessionState} state */
  #enter(state) {
    this.#state = state;
    this.#on.state(state);
  }

  /** @param {Error | null} reason */
  #end(reason) {
    clearTimeout(this.#timer);
    clearInterval(this.#pulse);
    removeEventListener("online", this.#hurry);
    this.#ready = false;
    this.#enter("ended");
    // After `done` or a fatal error the server closes; before that, we do.
    this.#socket?.abandon();
    this.#socket = null;
    this.#on.ended(reason);
  }
}
