/**
 * Turns the microphone into frames of 16-bit PCM, on the audio thread.
 *
 * Each message is `{pcm: ArrayBuffer, level: number}`: mono samples in the context's own rate
 * (the server resamples, and better than a page could), and the frame's RMS in 0…1.
 * The message "flush" asks for what is left of an unfinished frame, answered by `{flushed: true}`.
 */

const FRAME_SECONDS = 0.03;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.length = Math.round(sampleRate * FRAME_SECONDS);
    this.begin();
    this.port.onmessage = () => {
      if (this.filled > 0) this.send();
      this.port.postMessage({ flushed: true });
    };
  }

  begin() {
    this.frame = new Int16Array(this.length);
    this.filled = 0;
    this.energy = 0;
  }

  send() {
    const pcm = this.frame.buffer.slice(0, this.filled * 2);
    const level = Math.sqrt(this.energy / this.filled);
    this.port.postMessage({ pcm, level }, [pcm]);
    this.begin();
  }

  /** @param {Float32Array[][]} inputs One input of any number of channels, 128 samples each. */
  process(inputs) {
    const channels = inputs[0];
    const count = channels.length > 0 ? channels[0].length : 0;
    for (let i = 0; i < count; i += 1) {
      let sample = 0;
      for (const channel of channels) sample += channel[i];
      sample = Math.max(-1, Math.min(1, sample / channels.length));
      this.energy += sample * sample;
      this.frame[this.filled] = Math.round(sample * 32767);
      this.filled += 1;
      if (this.filled === this.length) this.send();
    }
    return true;
  }
}

registerProcessor("capture", Capture);
