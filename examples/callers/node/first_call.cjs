// The first call of a game service on Node.js in CommonJS: one that succeeds, one that fails, and what the failure says.
// Usage: node first_call.cjs ADDRESS [TOKEN...]
const { credentials, status } = require("@grpc/grpc-js");
const { Outcome, serviceConfig, Status, WalletError, WalletServiceClient } = require("wallet-bridge");

/** Terminates the session of a token and says how that ended. */
function terminate(client, token) {
  const request = { token, playerId: 1n, siteId: 1n, providerId: 1n, gameId: "example", currency: "EUR" };
  return new Promise((resolve) => {
    client.terminate(request, { deadline: Date.now() + 20_000 }, (error, answer) =>
      resolve(error ? failureText(error) : `OK code=${answer.code} balance=${answer.balance?.value}`),
    );
  });
}

/** Decides by the outcome, the first field of the first detail; without details nothing is certain. */
function failureText(error) {
  const [packed] = error.metadata.get("grpc-status-details-bin");
  const details = packed ? Status.decode(packed).details : [];
  const detail = details.find(({ typeUrl }) => typeUrl.endsWith("/wallet.v1.WalletError"));
  if (!detail) {
    return `${status[error.code]} without details: the token may be alive or dead`;
  }
  const wallet = WalletError.decode(detail.value);
  return `${status[error.code]} ${Outcome[wallet.outcome]} ${wallet.reason} call_id=${wallet.callId}`;
}

async function main([address, ...tokens]) {
  const client = new WalletServiceClient(`dns:///${address}`, credentials.createInsecure(), {
    "grpc.service_config": serviceConfig,
  });
  for (const token of tokens.length ? tokens : ["first-call", "test-echo-player"]) {
    console.log(await terminate(client, token));
  }
  client.close();
}

main(process.argv.slice(2));
