// Keeps what is shown up to date: asks again and again, or follows a stream; both come back after the
// server was away, and both rest while nobody looks. A browser has six connections to a server, so a
// hidden page must hold none.

import { cleared, failed, worked } from "./frame.js";

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
// Whoever asks again is told the same.
const FINAL = ["unauthenticated", "permission_denied", "not_found", "invalid_argument", "unimplemented"];

/** What becomes of one thing that is tried again and again: how long to wait after it has failed. */
class Attempts {
  #back = FIRST_PAUSE_MS;
  #shown = false;

  worked() {
    this.#back = FIRST_PAUSE_MS;
    worked();
    // What is the server's own fault is no news any more only once this very thing has gone right.
    if (this.#shown) cleared();
    this.#shown = false;
  }

  /** Shows what has gone wrong, and gives the milliseconds to wait; null where it is of no use. */
  failed(error) {
    if (failed(error)) {
      const wait = this.#back;
      this.#back = Math.min(2 * this.#back, LONGEST_PAUSE_MS);
      return wait;
    }
    this.#shown = true;
    return FINAL.includes(error.code) ? null : LONGEST_PAUSE_MS;
  }
}

/** Resolves after some time, or as soon as the signal is given. */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

function seen() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true });
  }).then(seen);
}

/**
 * Does something now, and again and again.
 * @param {() => Promise<number|null>} work Gives the milliseconds after which to do it again, or null
 *     where it is done.
 * @returns {{now: () => void}} `now` does it at once.
 */
export function again(work) {
  let waking = new AbortController();
  let wanted = false;
  (async () => {
    const attempts = new Attempts();
    for (;;) {
      await seen();
      wanted = false;
      let wait;
      try {
        wait = await work();
        attempts.worked();
      } catch (error) {
        wait = attempts.failed(error);
      }
      // Who is done, or has failed for good, can be woken all the same.
      if (!wanted) await pause(wait ?? 2 ** 31 - 1, waking.signal);
      waking = new AbortController();
    }
  })();
  return {
    now() {
      wanted = true;
      waking.abort();
    },
  };
}

/**
 * Follows a stream until it ends by itself.
 * @param {(signal: AbortSignal) => AsyncIterable} open Opens it: anew after each break.
 * @param {(message: object) => void} take Takes a message.
 * @returns {{done: Promise<void>, stop: () => void}} `done` resolves when the stream has ended, and
 *     also when it was stopped.
 */
export function follow(open, take) {
  let stopped = false;
  let current = new AbortController();
  const hide = () => { if (document.hidden) current.abort(); };
  document.addEventListener("visibilitychange", hide);
  const done = (async () => {
    const attempts = new Attempts();
    while (!stopped) {
      await seen();
      current = new AbortController();
      try {
        for await (const message of open(current.signal)) {
          if (stopped) return;
          attempts.worked();
          take(message);
        }
        return;
      } catch (error) {
        if (stopped) return;
        if (error.code === "canceled") continue;
        const wait = attempts.failed(error);
        if (wait === null) return;
        await pause(wait, current.signal);
      }
    }
  })().finally(() => document.removeEventListener("visibilitychange", hide));
  return {
    done,
    stop() {
      stopped = true;
      current.abort();
    },
  };
}

/** Lets something happen at most every so often, and the last wish be granted in any case. */
export function seldom(work, milliseconds) {
  let waiting = false;
  let last = -Infinity;
  return () => {
    if (waiting) return;
    const rest = Math.max(0, last + milliseconds - performance.now());
    waiting = true;
    setTimeout(() => {
      waiting = false;
      last = performance.now();
      work();
    }, rest);
  };
}
