// SHA-256 (FIPS 180-4) of what comes in parts. The browser's own wants all of a file in memory, and
// does not exist on a page without encryption.

const K = new Uint32Array(64);
const START = new Uint32Array(8);

// The first 32 bits of the fractional parts of the roots of the first primes.
(function fill() {
  const fraction = (root) => (root - Math.floor(root)) * 2 ** 32;
  for (let number = 2, found = 0; found < 64; number += 1) {
    let prime = true;
    for (let divisor = 2; divisor * divisor <= number; divisor += 1) if (number % divisor === 0) prime = false;
    if (!prime) continue;
    if (found < 8) START[found] = fraction(Math.sqrt(number));
    K[found] = fraction(Math.cbrt(number));
    found += 1;
  }
})();

export class Sha256 {
  #state = START.slice();
  #words = new Uint32Array(64);
  #held = new Uint8Array(64);
  #heldBytes = 0;
  #bytes = 0;

  /** Takes some bytes more. */
  update(data) {
    this.#bytes += data.length;
    let at = 0;
    while (at < data.length) {
      if (this.#heldBytes === 0 && data.length - at >= 64) {
        this.#block(data, at);
        at += 64;
        continue;
      }
      const taken = Math.min(64 - this.#heldBytes, data.length - at);
      this.#held.set(data.subarray(at, at + taken), this.#heldBytes);
      this.#heldBytes += taken;
      at += taken;
      if (this.#heldBytes === 64) {
        this.#block(this.#held, 0);
        this.#heldBytes = 0;
      }
    }
    return this;
  }

  /** The digest. Nothing may be added afterwards. */
  digest() {
    const bits = this.#bytes * 8;
    const end = new Uint8Array(this.#heldBytes < 56 ? 64 - this.#heldBytes : 128 - this.#heldBytes);
    end[0] = 0x80;
    const view = new DataView(end.buffer);
    view.setUint32(end.length - 8, Math.floor(bits / 2 ** 32));
    view.setUint32(end.length - 4, bits >>> 0);
    this.update(end);
    const digest = new Uint8Array(32);
    this.#state.forEach((word, at) => new DataView(digest.buffer).setUint32(4 * at, word));
    return digest;
  }

  #block(data, at) {
    const w = this.#words;
    for (let i = 0; i < 16; i += 1) {
      const p = at + 4 * i;
      w[i] = (data[p] << 24) | (data[p + 1] << 16) | (data[p + 2] << 8) | data[p + 3];
    }
    for (let i = 16; i < 64; i += 1) {
      const x = w[i - 15], y = w[i - 2];
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = (w[i - 16] + s0 + w[i - 7] + s1) | 0;
    }
    let [a, b, c, d, e, f, g, h] = this.#state;
    for (let i = 0; i < 64; i += 1) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const one = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const two = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + one) | 0;
      d = c; c = b; b = a; a = (one + two) | 0;
    }
    const s = this.#state;
    s[0] += a; s[1] += b; s[2] += c; s[3] += d; s[4] += e; s[5] += f; s[6] += g; s[7] += h;
  }
}
