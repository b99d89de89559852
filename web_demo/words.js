// @ts-check
/** Faults in words that say what to do next. */

import { Refused } from "./api.js";
import { Fatal, Lost } from "./session.js";

/**
 * @typedef {object} Explanation
 * @property {string} text
 * @property {boolean} key Whether another key may help.
 */

/** @type {Record<string, string>} By DOMException name. */
const MICROPHONE = {
  NotAllowedError:
    "Surtitle may not use the microphone. Allow it for this page in your browser, then press Start again.",
  NotFoundError: "No microphone was found. Connect one, then press Start again.",
  NotReadableError:
    "The microphone can’t be opened. Another program may be using it: close that, then press Start again.",
  SecurityError:
    "Browsers only give the microphone to pages opened over https or on this very machine (localhost).",
  AbortError: "The browser could not start the microphone. Try again.",
};

/**
 * @param {unknown} fault
 * @returns {Explanation}
 */
export function explain(fault) {
  if (fault instanceof Refused) return refusal(fault);
  if (fault instanceof Fatal) {
    return { text: sentence(`The session ended: ${fault.message}`, fault.retryAfter), key: false };
  }
  if (fault instanceof Lost) return { text: LOST[fault.how], key: false };
  if (fault instanceof DOMException && fault.name in MICROPHONE) {
    return { text: MICROPHONE[fault.name], key: false };
  }
  const text = fault instanceof Error ? fault.message : String(fault);
  return { text: `Something went wrong in this page: ${text}`, key: false };
}

/** @type {Record<Lost["how"], string>} */
const LOST = {
  refused:
    "The server refused the connection. It may be full, or this key may have all its streams open. Try again in a moment.",
  lost: "The connection was lost and could not be made again. Your captions are kept; press Start to go on.",
  unfinished: "The connection was lost before the last words were finished. Your captions are kept.",
};

/**
 * @param {Refused} refused
 * @returns {Explanation}
 */
function refusal({ status, detail, retryAfter }) {
  if (status === 0) {
    return { text: "The server can’t be reached. Check your network, then try again.", key: false };
  }
  if (status === 401) {
    return { text: "This API key is wrong or no longer valid. Enter another one.", key: true };
  }
  if (status === 403) {
    return { text: sentence(`This API key may not do that. ${detail}`, null), key: true };
  }
  if (status === 429) {
    return { text: sentence(`This key has reached its limit. ${detail}`, retryAfter), key: false };
  }
  if (status === 503) {
    return { text: sentence(`The server is busy. ${detail}`, retryAfter), key: false };
  }
  return { text: sentence(`The server answered with a fault (${status}). ${detail}`, retryAfter), key: false };
}

/**
 * @param {string} text
 * @param {number | null} retryAfter Seconds.
 */
function sentence(text, retryAfter) {
  const ended = /[.!?]$/.test(text.trim()) ? text.trim() : `${text.trim()}.`;
  return retryAfter === null ? ended : `${ended} Try again in ${duration(retryAfter)}.`;
}

/** @param {number} seconds */
export function duration(seconds) {
  const whole = Math.max(1, Math.ceil(seconds));
  if (whole < 90) return whole === 1 ? "a second" : `${whole} seconds`;
  const minutes = Math.ceil(whole / 60);
  return minutes < 90 ? `${minutes} minutes` : `${Math.ceil(minutes / 60)} hours`;
}
