// Clients of the official implementation for Node.js, for our server.
// Makes each call that comes in as a line of JSON, and prints a line of JSON that tells what came
// of it. See `Call` and `Report` in ../calls.py.

import * as readline from "node:readline";
import { create, fromJson, toBinary, toJson } from "@bufbuild/protobuf";
import { ConnectError, createClient } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import { compressionGzip, createConnectTransport } from "@connectrpc/connect-node";
import { EchoRequestSchema, EchoResponseSchema, EchoService } from "./gen/interop/v1/echo_pb.js";

const transports = new Map();

function transportOf({ url, codec, compression, get }) {
  const key = JSON.stringify([url, codec, compression, get]);
  if (!transports.has(key)) {
    const gzip = compression === "gzip";
    const transport = createConnectTransport({
      baseUrl: url,
      httpVersion: "1.1",
      useBinaryFormat: codec === "proto",
      useHttpGet: get,
      acceptCompression: gzip ? [compressionGzip] : [],
      sendCompression: gzip ? compressionGzip : undefined,
      compressMinBytes: 0,
    });
    transports.set(key, transport);
  }
  return transports.get(key);
}

async function* streamOf(messages) {
  yield* messages;
}

async function* responsesOf(call, options) {
  const client = createClient(EchoService, transportOf(call));
  const requests = call.requests.map((one) => fromJson(EchoRequestSchema, one));
  switch (call.method) {
    case "server_stream":
      return yield* client.serverStream(requests[0], options);
    case "client_stream":
      return yield await client.clientStream(streamOf(requests), options);
    case "bidi":
      return yield* client.bidi(streamOf(requests), options);
    default:
      return yield await client[call.method](requests[0], options);
  }
}

function errorOf(error) {
  if (!(error instanceof ConnectError)) throw error;
  return {
    code: codeToString(error.code),
    message: error.rawMessage,
    details: error.details.map(({ type, value }) => ({
      type_name: type,
      value: Buffer.from(value).toString("hex"),
    })),
  };
}

async function reportOf(call) {
  const report = { responses: [], headers: {}, trailers: {}, error: null };
  const options = {
    headers: call.headers,
    timeoutMs: call.timeout_ms ?? undefined,
    onHeader: (headers) => (report.headers = Object.fromEntries(headers)),
    onTrailer: (trailers) => (report.trailers = Object.fromEntries(trailers)),
  };
  try {
    for await (const response of responsesOf(call, options)) {
      report.responses.push(toJson(EchoResponseSchema, response));
    }
  } catch (error) {
    report.error = errorOf(error);
    report.error.metadata = Object.fromEntries(error.metadata);
  }
  return report;
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  // After an error of the program itself, the next call must be made all the same.
  const report = await reportOf(JSON.parse(line)).catch((error) => ({ crash: String(error) }));
  console.log(JSON.stringify(report));
}
process.exit();
