// @ts-check
/** One WebSocket to `/v1/stream`, from `start` to its close. */

/** @typedef {{type: string, seq: number, [field: string]: any}} ServerEvent */

/**
 * @typedef {object} SocketHandlers
 * @property {(event: ServerEvent) => void} event
 * @property {(how: {code: number, opened: boolean}) => void} closed Called once, after the last event.
 */

export class Socket {
  #socket;

  /**
   * @param {URL} url
   * @param {object} start The fields of the `start` message.
   * @param {SocketHandlers} handlers
   */
  constructor(url, start, { event, closed }) {
    const socket = new WebSocket(url);
    let opened = false;
    this.#socket = socket;
    socket.onopen = () => {
      opened = true;
      this.start(start);
    };
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") event(JSON.parse(data));
    };
    socket.onclose = ({ code }) => closed({ code, opened });
  }

  /** @param {object} fields Of a `start`, also after one that was refused. */
  start(fields) {
    this.#send({ type: "start", ...fields });
  }

  /** Bytes the network has not taken yet. */
  get waiting() {
    return this.#socket.bufferedAmount;
  }

  /** @param {ArrayBuffer} pcm */
  audio(pcm) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(pcm);
  }

  /** @param {object} fields What changes: `targets`, `interim`, … */
  configure(fields) {
    this.#send({ type: "configure", ...fields });
  }

  /**
   * Keeps a connection open that has no audio to carry.
   * @param {number} received The last event that arrived: those before need not be kept.
   */
  keepalive(received) {
    this.#send({ type: "keepalive", received_seq: received });
  }

  /** No more audio: the server answers with the last finals, `done`, and closes. */
  stop() {
    this.#send({ type: "stop" });
  }

  /** Leave at once, and hear nothing more from it. */
  abandon() {
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.close();
  }

  /** @param {object} message */
  #send(message) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }
}
