// @ts-check
/** The captions as files. */

import { whole } from "./captions.js";

/** @typedef {import("./captions.js").Segment} Segment */

/** @param {Segment} segment */
function lines(segment) {
  return [whole(segment.text), ...[...segment.translations.values()].map(whole)].filter(Boolean);
}

/**
 * Paragraphs of text, each translation on the line below.
 * @param {Segment[]} segments
 */
export function asText(segments) {
  return segments.map((segment) => `${lines(segment).join("\n")}\n`).join("\n");
}

/**
 * WebVTT, one cue a segment (https://www.w3.org/TR/webvtt1/).
 * @param {Segment[]} segments
 */
export function asVtt(segments) {
  const cues = segments.map((segment) => {
    // A cue must last, and must not hold what ends or opens markup in it.
    const end = Math.max(segment.end, segment.start + 0.1);
    const text = lines(segment).map(escaped).join("\n");
    return `${timestamp(segment.start)} --> ${timestamp(end)}\n${text}\n`;
  });
  return ["WEBVTT\n", ...cues].join("\n");
}

/** @param {number} seconds */
export function timestamp(seconds) {
  const ms = Math.round(seconds * 1000);
  const parts = [Math.floor(ms / 3_600_000), Math.floor(ms / 60_000) % 60, Math.floor(ms / 1000) % 60];
  const clock = parts.map((part) => String(part).padStart(2, "0")).join(":");
  return `${clock}.${String(ms % 1000).padStart(3, "0")}`;
}

/** @param {string} line */
function escaped(line) {
  return line
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll(/\s*\n\s*/g, " ");
}

/**
 * Offer a file for saving.
 * @param {string} name
 * @param {string} type
 * @param {string} content
 */
export function save(name, type, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: `${type};charset=utf-8` }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
