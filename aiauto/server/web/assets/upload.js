// Sends a file to the shared cache, as FileService takes it: in parts, from where it broke off.

import { CallError, call } from "./connect.js";
import { Sha256 } from "./sha256.js";

// As base64 it makes 4 MiB.
const PART_BYTES = 3 * 1024 * 1024;
const SMALLEST_PART_BYTES = 48 * 1024;
// The server looks at the whole of a big file again.
const FINISH_MS = 900_000;
const ATTEMPTS = 5;

/**
 * Sends a file.
 * @param {File} file It.
 * @param {string} path Where it shall be.
 * @param {(share: number) => void} told Told how much is done, from 0 to 1.
 * @param {AbortSignal} signal Gives it up.
 */
export async function upload(file, path, told, signal) {
  const digest = new Sha256();
  for (let at = 0; at < file.size; at += PART_BYTES) {
    digest.update(new Uint8Array(await file.slice(at, at + PART_BYTES).arrayBuffer()));
    // Reading is a small part of it, but not nothing.
    told((0.1 * Math.min(at + PART_BYTES, file.size)) / file.size);
    if (signal.aborted) throw new CallError("canceled", "");
  }
  const sha256 = await base64(new Blob([digest.digest()]));
  const begin = () => call("FileService/BeginUpload",
    { place: "FILE_PLACE_SHARED_CACHE", path, size: String(file.size), sha256 }, signal);
  let partBytes = PART_BYTES;
  let failures = 0;
  for (;;) {
    try {
      const begun = await begin();
      if (begun.finished) break;
      for (let at = Number(begun.offset ?? 0); at < file.size;) {
        const part = file.slice(at, at + partBytes);
        const answer = await call("FileService/WriteUpload",
          { uploadId: begun.uploadId, offset: String(at), data: await base64(part) }, signal);
        at = Number(answer.offset ?? 0);
        failures = 0;
        told(0.1 + (0.9 * at) / file.size);
      }
      await call("FileService/FinishUpload", { uploadId: begun.uploadId }, signal, FINISH_MS);
      break;
    } catch (error) {
      failures += 1;
      if (!error.passes || failures > ATTEMPTS) throw error;
      // Where the way is not broken it is slow.
      if (error.code === "deadline_exceeded") partBytes = Math.max(partBytes / 4, SMALLEST_PART_BYTES);
      await new Promise((resolve) => { setTimeout(resolve, 1000 * failures); });
    }
  }
  told(1);
}

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
