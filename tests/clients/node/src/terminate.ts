import { credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import {
  ErrorInfo,
  Outcome,
  RequestInfo,
  RetryInfo,
  Settlement,
  Status,
  type TerminateRequest,
  type TerminateResponse,
  WalletError,
  WalletServiceClient,
} from "wallet-bridge";

/** Opens one client, to be kept and shared by the whole service. In production: credentials.createSsl. */
export function connect(address: string, serviceConfig: string, keepaliveMs = 10_000): WalletServiceClient {
  return new WalletServiceClient(`dns:///${address}`, credentials.createInsecure(), {
    "grpc.service_config": serviceConfig,
    // A connection that has died without a word is found by its pings, with calls in flight or without.
    "grpc.keepalive_time_ms": keepaliveMs,
    "grpc.keepalive_permit_without_calls": 1,
  });
}

/** What the game service does after a call. */
export enum Next {
  /** The wallet has confirmed that the token is deactivated. */
  DONE = "DONE",
  /** Nothing happened: the same call again, later. */
  REPEAT = "REPEAT",
  /** Nothing happened, and nothing will before the cause is fixed. */
  MEND = "MEND",
  /** The bridge retries the call by itself until it is certain: ask SettlementService later. */
  WAIT = "WAIT",
  /** The token may be alive or dead: find out, or retry Terminate deliberately. */
  CHECK = "CHECK",
}

/** A call that the wallet has confirmed. */
export interface Answer {
  response: TerminateResponse;
  /** By which the bridge's operator finds the call: log it. */
  callId: string;
}

/** Everything that a failed call reports. What the bridge did not send is undefined. */
export class Failure extends Error {
  readonly code: status;
  /** As in Answer; "" where a library or a proxy ended the call, not the bridge. */
  readonly callId: string;
  readonly wallet: WalletError | undefined;
  readonly info: ErrorInfo | undefined;
  readonly request: RequestInfo | undefined;
  readonly retry: RetryInfo | undefined;

  constructor(error: ServiceError) {
    super(error.message, { cause: error });
    this.code = error.code;
    this.callId = callIdIn(error.metadata);
    const [packed] = error.metadata.get("grpc-status-details-bin");
    for (const { typeUrl, value } of packed instanceof Buffer ? Status.decode(packed).details : []) {
      switch (typeUrl.slice(typeUrl.lastIndexOf("/") + 1)) {
        case "wallet.v1.WalletError":
          this.wallet = WalletError.decode(value);
          break;
        case "google.rpc.ErrorInfo":
          this.info = ErrorInfo.decode(value);
          break;
        case "google.rpc.RequestInfo":
          this.request = RequestInfo.decode(value);
          break;
        case "google.rpc.RetryInfo":
          this.retry = RetryInfo.decode(value);
          break;
      }
    }
  }

  /** Decides by the outcome first. A failure without details comes from a library or a proxy: nothing is certain. */
  next(): Next {
    if (this.wallet?.settlement === Settlement.SETTLEMENT_PENDING) {
      return Next.WAIT;
    }
    switch (this.wallet?.outcome) {
      case Outcome.OUTCOME_NOT_PROCESSED:
        return Next.REPEAT;
      case Outcome.OUTCOME_NOT_SENT:
      case Outcome.OUTCOME_REJECTED:
        // this.retry says how long to wait.
        return this.code === status.UNAVAILABLE || this.retry ? Next.REPEAT : Next.MEND;
      default:
        return Next.CHECK;
    }
  }
}

/**
 * Ends a session. Ids are bigint: a number would be wrong above 2^53. `requestId` is your own id of the call, for logs;
 * without one the bridge makes it.
 */
export function terminate(
  client: WalletServiceClient,
  request: TerminateRequest,
  deadlineMs: number,
  requestId = "",
): Promise<Answer> {
  const metadata = new Metadata();
  if (requestId) {
    metadata.set("x-request-id", requestId);
  }
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + deadlineMs };
    let answered: TerminateResponse;
    client
      .terminate(request, metadata, options, (error, response) =>
        error ? reject(new Failure(error)) : (answered = response),
      )
      // The trailers come last; after a failure there is nothing left to resolve.
      .on("status", ({ metadata: trailers }) => resolve({ response: answered, callId: callIdIn(trailers) }));
  });
}

/** The id with which the bridge ends every call. */
function callIdIn(trailers: Metadata): string {
  return String(trailers.get("wallet-call-id")[0] ?? "");
}
