// @ts-check
/** The microphone as a sequence of PCM frames. */

/** The rates the server takes; a context outside of them is asked for 48 kHz instead. */
const MAX_RATE = 96_000;

/** Speech for a recogniser: one channel, nothing that gates or colours it, but an even level. */
const CONSTRAINTS = {
  channelCount: 1,
  echoCancellation: false,
  noiseSuppression: false,
  autoGainControl: true,
};

/**
 * @typedef {object} MicrophoneHandlers
 * @property {(pcm: ArrayBuffer, level: number) => void} frame 16-bit mono PCM, and its RMS 0…1.
 * @property {() => void} lost The device went away (unplugged, or taken back by the user).
 */

export class Microphone {
  /** @type {MediaStream | null} */ #stream = null;
  /** @type {AudioContext | null} */ #context = null;
  /** @type {AudioWorkletNode | null} */ #capture = null;

  /** Samples per second of the frames: whatever the sound card runs at. */
  sampleRate = 0;

  /**
   * Ask for the microphone and start capturing.
   * Rejects with the browser's own DOMException when it may not or can't.
   * @param {MicrophoneHandlers} handlers
   */
  async open({ frame, lost }) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new DOMException("no microphone on insecure pages", "SecurityError");
    }
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ audio: CONSTRAINTS });
      this.#context = await newContext();
      await this.#context.audioWorklet.addModule(new URL("capture-worklet.js", import.meta.url));
    } catch (error) {
      await this.close();
      throw error;
    }
    const context = this.#context;
    this.sampleRate = context.sampleRate;
    const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    this.#capture = capture;
    capture.port.onmessage = ({ data }) => {
      if (!data.flushed) frame(data.pcm, data.level);
    };
    context.createMediaStreamSource(this.#stream).connect(capture);
    for (const track of this.#stream.getAudioTracks()) track.addEventListener("ended", lost);
    // Phones suspend the context during a call, and don't always wake it afterwards.
    context.addEventListener("statechange", () => {
      if (/** @type {string} */ (context.state) === "interrupted") void context.resume();
    });
    await context.resume();
  }

  /** Stop capturing. What was still in an unfinished frame is delivered first. */
  async close() {
    const [stream, context, capture] = [this.#stream, this.#context, this.#capture];
    this.#stream = null;
    this.#context = null;
    this.#capture = null;
    if (capture) {
      await flushed(capture.port);
      capture.port.onmessage = null;
    }
    for (const track of stream?.getTracks() ?? []) track.stop();
    if (context && context.state !== "closed") await context.close();
  }
}

async function newContext() {
  const context = new AudioContext({ latencyHint: "interactive" });
  if (context.sampleRate <= MAX_RATE) return context;
  await context.close();
  return new AudioContext({ latencyHint: "interactive", sampleRate: 48_000 });
}

/**
 * Resolves once the worklet has sent its rest, or soon if its thread is no longer running.
 * @param {MessagePort} port
 * @returns {Promise<void>}
 */
function flushed(port) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, 300);
    port.addEventListener("message", ({ data }) => {
      if (!data.flushed) return;
      clearTimeout(timer);
      resolve();
    });
    port.postMessage("flush");
  });
}
