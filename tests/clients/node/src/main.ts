// Runs the cases of cases.json and prints what each ends with, as the samples in all languages do.
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { status } from "@grpc/grpc-js";
import { Outcome, type RetryInfo, type TerminateResponse } from "wallet-bridge";

import { connect, Failure, Next, terminate } from "./terminate";

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
  deadlineMs: number;
}

// Usage: main.js FOLDER, where run.py has written cases.json, bridges.json and the service configs.
async function main(folder: string): Promise<void> {
  const read = (name: string) => readFileSync(join(folder, `${name}.json`), "utf8");
  const bridges: Record<string, string> = JSON.parse(read("bridges"));
  for (const one of JSON.parse(read("cases")) as Case[]) {
    await run(one, bridges[one.bridge]!, read(one.config));
  }
}

async function run(one: Case, address: string, config: string): Promise<void> {
  const client = connect(address, config);
  const request = {
    token: one.token,
    playerId: BigInt(one.playerId),
    siteId: BigInt(one.siteId),
    providerId: BigInt(one.providerId),
    gameId: one.gameId,
    currency: one.currency,
  };
  console.log(`# ${one.name}`);
  try {
    console.log(successText(await terminate(client, request, one.deadlineMs)));
  } catch (error) {
    if (!(error instanceof Failure)) {
      throw error;
    }
    console.log(failureText(error));
  } finally {
    client.close();
  }
}

function successText(response: TerminateResponse): string {
  const { code, token, playerId, siteId, providerId, gameId, balance } = response;
  return (
    `OK code=${code} token=${token} player_id=${playerId} site_id=${siteId} provider_id=${providerId} ` +
    `game_id=${gameId} balance=${balance?.value ?? "-"}\n-> ${Next.DONE}`
  );
}

function failureText(failure: Failure): string {
  const { wallet, info } = failure;
  const outcome = Outcome[wallet?.outcome ?? Outcome.OUTCOME_UNSPECIFIED];
  return (
    `${status[failure.code]} ${wallet?.reason ?? ""} outcome=${outcome} code=${wallet?.code ?? "-"} ` +
    `http_status=${wallet?.httpStatus ?? 0} attempts=${wallet?.attempts ?? 0}\n` +
    `   domain=${info?.domain || "-"} cause=${info?.metadata["cause"] || "-"} ` +
    `retry_after_ms=${retryAfterMs(failure.retry)} request_id=${requestId(failure)}\n` +
    `-> ${failure.next()}`
  );
}

function retryAfterMs(retry: RetryInfo | undefined): string {
  const delay = retry?.retryDelay;
  return delay ? `${delay.seconds * 1000n + BigInt(Math.trunc(delay.nanos / 1_000_000))}` : "-";
}

function requestId(failure: Failure): string {
  const told = failure.request?.requestId ?? "";
  if (told !== (failure.wallet?.requestId ?? "")) {
    return "differs";
  }
  return told ? "given" : "-";
}

main(process.argv[2]!).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
