// Runs the cases of cases.json and prints what each ends with, as the samples in all languages do.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { status } from "@grpc/grpc-js";
import { Outcome, type RetryInfo, type TerminateRequest, type WalletServiceClient } from "wallet-bridge";

import { type Answer, connect, Failure, Next, terminate } from "./terminate";

interface Case {
  name: string;
  bridge: string;
  config: string;
  token: string;
  playerId: string;
  siteId: string;
  providerId: string;
  gameId: string;
  currency: string;
  requestId: string;
  deadlineMs: number;
  keepaliveMs: number;
  warm: boolean;
  idleMs: number;
  calls: number;
}

// Usage: main.js FOLDER, where run.py has written cases.json, bridges.json and the service configs.
async function main(folder: string): Promise<void> {
  const read = (name: string) => readFileSync(join(folder, `${name}.json`), "utf8");
  const bridges: Record<string, string> = JSON.parse(read("bridges"));
  for (const one of JSON.parse(read("cases")) as Case[]) {
    await run(one, bridges[one.bridge]!, read(one.config));
  }
}

/** Makes a case's calls, one after the other on a client of its own, and prints how they end. */
async function run(one: Case, address: string, config: string): Promise<void> {
  const client = connect(address, config, one.keepaliveMs);
  const request = {
    token: one.token,
    playerId: BigInt(one.playerId),
    siteId: BigInt(one.siteId),
    providerId: BigInt(one.providerId),
    gameId: one.gameId,
    currency: one.currency,
  };
  if (one.warm) {
    // Connects and loads everything, so that the case's own calls are timed alone.
    await endText(one, client, { ...request, token: "warm" }, 20_000);
  }
  await sleep(one.idleMs);
  const ends = new Map<string, number>();
  for (let made = 0; made < one.calls; made++) {
    const text = await endText(one, client, request, one.deadlineMs);
    ends.set(text, (ends.get(text) ?? 0) + 1);
  }
  client.close();
  console.log(`# ${one.name}`);
  for (const [text, count] of ends) {
    console.log(one.calls > 1 ? `${count} x ${text}` : text);
  }
}

async function endText(
  one: Case,
  client: WalletServiceClient,
  request: TerminateRequest,
  deadlineMs: number,
): Promise<string> {
  try {
    return successText(await terminate(client, request, deadlineMs, one.requestId), one);
  } catch (error) {
    if (!(error instanceof Failure)) {
      throw error;
    }
    return failureText(error, one);
  }
}

function successText({ response, callId }: Answer, one: Case): string {
  const { code, token, playerId, siteId, providerId, gameId, balance } = response;
  return (
    `OK code=${code} token=${token} player_id=${playerId} site_id=${siteId} provider_id=${providerId} ` +
    `game_id=${gameId} balance=${balance?.value ?? "-"} call_id=${callIdText(callId, one)}\n-> ${Next.DONE}`
  );
}

function failureText(failure: Failure, one: Case): string {
  const { wallet, info } = failure;
  const outcome = Outcome[wallet?.outcome ?? Outcome.OUTCOME_UNSPECIFIED];
  return (
    `${status[failure.code]} ${wallet?.reason ?? ""} outcome=${outcome} code=${wallet?.code ?? "-"} ` +
    `http_status=${wallet?.httpStatus ?? 0} attempts=${wallet?.attempts ?? 0}\n` +
    `   domain=${info?.domain || "-"} cause=${info?.metadata["cause"] || "-"} ` +
    `retry_after_ms=${retryAfterMs(failure.retry)} request_id=${requestId(failure)} ` +
    `call_id=${failedCallId(failure, one)}\n` +
    `-> ${failure.next()}`
  );
}

function retryAfterMs(retry: RetryInfo | undefined): string {
  const delay = retry?.retryDelay;
  return delay ? `${delay.seconds * 1000n + BigInt(Math.trunc(delay.nanos / 1_000_000))}` : "-";
}

/** Whose id RequestInfo carries: the wallet's, else the call's. The values are others in every run. */
function requestId({ request, wallet }: Failure): string {
  const reported = request?.requestId ?? "";
  if (reported !== (wallet?.requestId || (wallet?.callId ?? ""))) {
    return "differs";
  }
  if (!reported) {
    return "-";
  }
  return wallet?.requestId ? "given" : "call_id";
}

/** Whose id the call has, the same in the trailer and in both details that carry it. */
function failedCallId({ callId, info, wallet }: Failure, one: Case): string {
  const isTheSame = callId === (wallet?.callId ?? "") && callId === (info?.metadata["call_id"] ?? "");
  return isTheSame ? callIdText(callId, one) : "differs";
}

/** Whose id it is: sent with the case, made by the bridge, or none. */
function callIdText(reported: string, one: Case): string {
  if (!reported) {
    return "-";
  }
  return reported === one.requestId ? "sent" : "made";
}

main(process.argv[2]!).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
