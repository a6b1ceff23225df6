// The first call of a game service in TypeScript: one that succeeds, one that fails, and what the failure says.
// Usage, compiled: node first_call.mjs ADDRESS [TOKEN...]
import { credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import {
  Outcome,
  serviceConfig,
  Status,
  type TerminateRequest,
  type TerminateResponse,
  WalletError,
  WalletServiceClient,
} from "wallet-bridge";

/** Terminates the session of a token and says how that ended. */
function terminate(client: WalletServiceClient, token: string): Promise<string> {
  const request: TerminateRequest = {
    token,
    playerId: 1n,
    siteId: 1n,
    providerId: 1n,
    gameId: "example",
    currency: "EUR",
  };
  return new Promise((resolve) => {
    const options = { deadline: Date.now() + 20_000 };
    client.terminate(
      request,
      new Metadata(),
      options,
      (error: ServiceError | null, answer: TerminateResponse) =>
        resolve(error ? failureText(error) : `OK code=${answer.code} balance=${answer.balance?.value}`),
    );
  });
}

/** Decides by the outcome, the first field of the first detail; without details nothing is certain. */
function failureText(error: ServiceError): string {
  const [packed] = error.metadata.get("grpc-status-details-bin");
  const details = packed instanceof Buffer ? Status.decode(packed).details : [];
  const detail = details.find(({ typeUrl }) => typeUrl.endsWith("/wallet.v1.WalletError"));
  if (!detail) {
    return `${status[error.code]} without details: the token may be alive or dead`;
  }
  const wallet = WalletError.decode(detail.value);
  return `${status[error.code]} ${Outcome[wallet.outcome]} ${wallet.reason} call_id=${wallet.callId}`;
}

const [address, ...tokens] = process.argv.slice(2);
const client = new WalletServiceClient(`dns:///${address}`, credentials.createInsecure(), {
  "grpc.service_config": serviceConfig,
});
for (const token of tokens.length ? tokens : ["first-call", "test-echo-player"]) {
  console.log(await terminate(client, token));
}
client.close();
