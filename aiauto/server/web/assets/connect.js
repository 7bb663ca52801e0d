// The Connect protocol in JSON, as a browser needs it: unary calls and server streams.
// https://connectrpc.com/docs/protocol

import { t } from "./language.js";

const END_OF_STREAM = 2;
const HEAD_BYTES = 5;
const PATIENCE_MS = 120_000;
// The server says something about three times as often on every stream. A way to it that was lost
// without a word, as a notebook's in another network, is known by nothing else.
const SILENCE_MS = 60_000;

/** What the server, or the way to it, has against a call. */
export class CallError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }

  /** Whether the same call may well succeed in a moment. */
  get passes() {
    return ["unavailable", "resource_exhausted", "deadline_exceeded", "aborted", "unknown"].includes(this.code);
  }
}

/**
 * Makes a unary call.
 * @param {string} method For example `AIAutoService/ListStudies`.
 * @param {object} [request] The request, as JSON.
 * @param {AbortSignal} [signal] Gives the call up.
 * @param {number} [milliseconds] How long it may take.
 */
export async function call(method, request = {}, signal = null, milliseconds = PATIENCE_MS) {
  const patience = new Patience(milliseconds, signal);
  try {
    const response = await post(method, "application/json", JSON.stringify(request), patience.signal);
    return await read(() => response.json(), patience.signal);
  } finally {
    patience.end();
  }
}

/** Makes a call that streams, and gives its messages one by one. It fails where none come any more. */
export async function* stream(method, request, signal) {
  const message = new TextEncoder().encode(JSON.stringify(request));
  const body = new Uint8Array(HEAD_BYTES + message.length);
  new DataView(body.buffer).setUint32(1, message.length);
  body.set(message, HEAD_BYTES);
  const patience = new Patience(SILENCE_MS, signal);
  try {
    const response = await post(method, "application/connect+json", body, patience.signal);
    for await (const [flags, text] of frames(response.body.getReader(), patience)) {
      const content = JSON.parse(text);
      if (!(flags & END_OF_STREAM)) {
        yield content;
      } else if (content.error) {
        throw new CallError(content.error.code ?? "unknown", content.error.message ?? "");
      } else {
        return;
      }
    }
  } finally {
    patience.end();
  }
  throw new CallError("unavailable", t("brokeOff"));
}

/** Gives a call up when it is told to, and when nothing was heard for some time. */
class Patience {
  #over = new AbortController();
  #milliseconds;
  #timer;

  constructor(milliseconds, signal) {
    this.#milliseconds = milliseconds;
    this.signal = AbortSignal.any([this.#over.signal, ...(signal ? [signal] : [])]);
    this.renew();
  }

  renew() {
    this.end();
    const over = () => this.#over.abort(new DOMException("nothing was heard", "TimeoutError"));
    this.#timer = setTimeout(over, this.#milliseconds);
  }

  end() {
    clearTimeout(this.#timer);
  }
}

async function post(method, type, body, signal) {
  const response = await read(() => fetch(`/aiauto.v1.${method}`, {
    method: "POST",
    headers: { "Content-Type": type, "Connect-Protocol-Version": "1" },
    body,
    signal,
    credentials: "same-origin",
    cache: "no-store",
  }), signal);
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw new CallError(told.code ?? "unavailable", told.message ?? `HTTP ${response.status}`);
}

async function read(work, signal) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CallError) throw error;
    if (signal.aborted) throw new CallError(signal.reason?.name === "TimeoutError" ? "deadline_exceeded" : "canceled", "");
    throw new CallError("unavailable", "");
  }
}

async function* frames(reader, patience) {
  let held = new Uint8Array();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const length = held.length < HEAD_BYTES ? null
        : new DataView(held.buffer, held.byteOffset).getUint32(1) + HEAD_BYTES;
      if (length !== null && held.length >= length) {
        yield [held[0], decoder.decode(held.subarray(HEAD_BYTES, length))];
        held = held.subarray(length);
        continue;
      }
      const { done, value } = await read(() => reader.read(), patience.signal);
      if (done) return;
      patience.renew();
      const joined = new Uint8Array(held.length + value.length);
      joined.set(held);
      joined.set(value, held.length);
      held = joined;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
