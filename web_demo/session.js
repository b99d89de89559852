// @ts-check
/**
 * A recording as the page sees it: one session or several, over any number of connections.
 *
 * A lost connection is made anew, and the session goes on where it was. Where it can't, a new one
 * hears again what no final had covered yet.
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
 * @property {(connection: Connection) => void} lost What is open will be heard anew.
 * @property {(seconds: number) => void} dropped Audio that could not be kept for a new connection.
 * @property {(reason: Error | null) => void} ended The last call. Null after a stop that went well.
 */

/**
 * @typedef {object} Connection A session of the server's.
 * @property {number} id Tells the segments of one session from those of another.
 * @property {number | null} origin The recording's second at which its audio began.
 * @property {number} place The same, in bytes.
 */

const ATTEMPTS = 8;
const LONGEST_WAIT = 15;
/** How long the server may take over the last finals, in milliseconds. */
const PATIENCE = 30_000;
/** A phone call may silence the microphone for long; the server must not think we left. */
const KEEPALIVE = 20_000;
/** Answers to a session that can't go on. */
const NOT_RESUMED = ["resume_unknown", "resume_impossible"];

/** Ids are unique over all recordings of the page. */
let connections = 0;

/** @returns {Connection} */
function fresh() {
  return { id: (connections += 1), origin: null, place: 0 };
}

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
  /** @type {Connection} */ #connection = fresh();
  /** @type {string | null} */ #token = null;
  #received = 0;
  #stopped = false;
  /** @type {SessionState} */ #state = "connecting";
  #ready = false;
  #everReady = false;
  #attempt = 0;
  #timer = 0;
  #deadline = 0;
  #pulse = setInterval(() => this.#ready && this.#socket?.keepalive(this.#received), KEEPALIVE);
  #hurry = () => {
    if (this.#state === "reconnecting" && this.#timer) this.#retry(0);
  };

  /**
   * @param {(returning: boolean) => Promise<URL>} address Mints a ticket; called for each connection.
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
    if (this.#state === "ended" || this.#stopped) return;
    const { frame, lost } = this.#replay.push({ pcm, ...span, sent: this.#ready });
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
    if (this.#state === "ended" || this.#stopped) return;
    if (!this.#everReady) {
      this.#end(null);
      return;
    }
    this.#stopped = true;
    this.#enter("stopping");
    if (this.#ready) this.#socket?.stop();
    this.#deadline = setTimeout(() => this.#end(new Lost("unfinished")), PATIENCE);
  }

  async #connect() {
    this.#timer = 0;
    let url;
    try {
      url = await this.#address(this.#token !== null);
    } catch (error) {
      if (this.#state !== "ended") this.#failed(/** @type {Error} */ (error));
      return;
    }
    if (this.#state === "ended") return;
    const resume = this.#token && { token: this.#token, received_seq: this.#received };
    this.#socket = new Socket(url, { ...this.#start, ...(resume && { resume }) }, {
      event: (event) => this.#receive(event),
      closed: ({ opened }) => this.#closed(opened),
    });
  }

  /** @param {ServerEvent} event */
  #receive(event) {
    const started = this.#ready;
    const origin = this.#connection.origin ?? 0;
    if (event.type === "error" && this.#token && !started && NOT_RESUMED.includes(event.code)) {
      this.#anew();
      this.#socket?.start(this.#start);
      return;
    }
    if (event.type !== "ready" && event.seq <= this.#received) return;
    this.#received = Math.max(this.#received, event.seq);
    if (event.type === "ready") this.#begin(event);
    else if (event.type === "speech_started") this.#replay.speechStarted(origin + event.at);
    else if (event.type === "speech_ended") this.#replay.speechEnded();
    else if (event.type === "final") this.#replay.finalised(origin + event.end);
    this.#on.event(event, this.#connection);
    if (event.type === "done" && this.#stopped) this.#end(null);
    else if (event.type === "done") {
      // The server goes away, and what it has heard is final: another goes on from there.
      this.#replay.ended(origin + event.audio_seconds);
      this.#anew();
    } else if (event.type === "error") {
      // A server that goes away closes the connection, and another one goes on.
      const leaving = event.code === "draining" && !this.#stopped;
      // An error before `ready` is a refused `start`: nothing would ever come.
      if ((event.fatal || !started) && !leaving) this.#end(new Fatal(event));
    }
  }

  /** @param {ServerEvent} ready */
  #begin(ready) {
    if (!ready.resumed) {
      if (this.#everReady) this.#anew();
      for (const frame of this.#replay.take()) this.#send(frame);
    } else {
      // Another server hears again what was open.
      if (ready.segment !== undefined) this.#on.lost(this.#connection);
      const parts = this.#replay.after(this.#connection.place + ready.audio_received_bytes);
      if (parts === null) {
        // Its audio is gone: a new session, over a new connection, hears what is left.
        this.#anew();
        this.#socket?.abandon();
        this.#closed(true);
        return;
      }
      for (const pcm of parts) this.#socket?.audio(pcm);
      this.#socket?.configure({ targets: this.#start.targets });
    }
    this.#token = ready.resume_token ?? null;
    this.#received = ready.seq;
    this.#ready = true;
    this.#everReady = true;
    this.#attempt = 0;
    if (this.#stopped) this.#socket?.stop();
    else this.#enter("live");
  }

  /** What comes next is another session's, which hears again what had no final. */
  #anew() {
    this.#on.lost(this.#connection);
    this.#connection = fresh();
    this.#token = null;
    this.#received = 0;
  }

  /** @param {import("./replay.js").Frame} frame */
  #send(frame) {
    if (this.#connection.origin === null) {
      Object.assign(this.#connection, { origin: frame.start, place: frame.at });
    }
    this.#socket?.audio(frame.pcm);
  }

  /** @param {boolean} opened */
  #closed(opened) {
    this.#socket = null;
    this.#ready = false;
    if (this.#state === "ended") return;
    this.#failed(new Lost(this.#stopped ? "unfinished" : opened ? "lost" : "refused"));
  }

  /** @param {Error} error */
  #failed(error) {
    const final = error instanceof Refused && !error.retryable;
    // A first attempt that fails is told at once: the user stands beside the button.
    if (final || !this.#everReady || this.#attempt >= ATTEMPTS) {
      this.#end(error);
      return;
    }
    if (!this.#stopped) this.#enter("reconnecting");
    const asked = error instanceof Refused ? (error.retryAfter ?? 0) : 0;
    const backoff = Math.min(LONGEST_WAIT, 0.5 * 2 ** this.#attempt);
    this.#attempt += 1;
    // Full jitter, so that a restarted server is not met by all its clients at once.
    this.#retry(Math.max(asked, backoff * Math.random()));
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
    clearTimeout(this.#deadline);
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
