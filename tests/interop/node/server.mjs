// The echo service on the official implementation for Node.js, for our clients.
// Prints its port and serves until its input ends.

import * as http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { create, toJsonString } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { codeFromString } from "@connectrpc/connect/protocol-connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import {
  DetailSchema,
  EchoRequestSchema,
  EchoService,
  ValuesSchema,
} from "./gen/interop/v1/echo_pb.js";

function answer(request, context, { index = 0, requests = 1 } = {}) {
  const headers = context.requestHeader;
  const query = new URL(context.url, "http://localhost").searchParams;
  const compression =
    query.get("compression") ??
    headers.get("connect-content-encoding") ??
    headers.get("content-encoding") ??
    "";
  const contentType = headers.get("content-type") ?? "";
  return {
    values: request.values,
    index,
    seen: {
      httpMethod: context.requestMethod,
      codec: query.get("encoding") ?? contentType.split(/[/+]/).at(-1),
      compression: compression.replace("identity", ""),
      timeoutMs: Math.trunc(context.timeoutMs() ?? 0),
      requests,
      asked: headers.get("x-interop-ask") ?? "",
      valuesJson: request.values ? toJsonString(ValuesSchema, request.values) : "",
    },
  };
}

function tell(context) {
  context.responseHeader.append("x-interop-header", context.requestHeader.get("x-interop-ask"));
  context.responseTrailer.append("x-interop-trailer", "one");
  context.responseTrailer.append("x-interop-trailer", "two");
}

function fail({ failure }) {
  if (failure) {
    const { code, message, detail } = failure;
    throw new ConnectError(message, codeFromString(code), undefined, [
      { desc: DetailSchema, value: detail },
    ]);
  }
}

async function unary(request, context) {
  tell(context);
  await sleep(request.sleepMs);
  fail(request);
  return answer(request, context);
}

const echo = {
  unary,
  get: unary,

  async *serverStream(request, context) {
    tell(context);
    await sleep(request.sleepMs);
    for (let index = 0; index < request.repeat; index++) {
      yield answer(request, context, { index });
    }
    fail(request);
  },

  async clientStream(messages, context) {
    let request = create(EchoRequestSchema);
    let requests = 0;
    for await (request of messages) requests++;
    tell(context);
    await sleep(request.sleepMs);
    fail(request);
    return answer(request, context, { requests });
  },

  async *bidi(messages, context) {
    let request = create(EchoRequestSchema);
    let requests = 0;
    tell(context);
    for await (request of messages) {
      await sleep(request.sleepMs);
      yield answer(request, context, { index: requests, requests: ++requests });
    }
    fail(request);
  },
};

const handler = connectNodeAdapter({ routes: (router) => router.service(EchoService, echo) });
const server = http.createServer(handler);
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit()).resume();
