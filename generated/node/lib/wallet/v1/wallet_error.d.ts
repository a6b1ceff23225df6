import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
export declare const protobufPackage = "wallet.v1";
export declare const protobufFileName = "wallet/v1/wallet_error.proto";
/** What is certain about the wallet's state after a call that failed. Decide by this first, by the reason second. */
export declare enum Outcome {
    /** OUTCOME_UNSPECIFIED - Never sent by the bridge. */
    OUTCOME_UNSPECIFIED = 0,
    /** OUTCOME_NOT_SENT - No byte of the request left the bridge: the wallet has not seen it. The token is as it was before. */
    OUTCOME_NOT_SENT = 1,
    /**
     * OUTCOME_NOT_PROCESSED - HTTP/2 proves that the wallet did not process the request: it refused the stream (RFC 9113, section 8.7), or the
     * stream's id lies above the last one that its GOAWAY names (section 6.8). The token is as it was before.
     */
    OUTCOME_NOT_PROCESSED = 2,
    /** OUTCOME_REJECTED - The wallet answered, and the answer is no. Retrying the same call gives the same answer until its cause is fixed. */
    OUTCOME_REJECTED = 3,
    /** OUTCOME_UNKNOWN - The wallet may or may not have processed the request. Treat the token as possibly alive: check before going on. */
    OUTCOME_UNKNOWN = 4,
    UNRECOGNIZED = -1
}
export declare function outcomeFromJSON(object: any): Outcome;
export declare function outcomeToJSON(object: Outcome): string;
/** What the bridge itself does, or has done, about a request whose outcome was unknown. */
export declare enum Settlement {
    /** SETTLEMENT_UNSPECIFIED - The bridge does nothing about it: where the outcome is UNKNOWN, the caller must. */
    SETTLEMENT_UNSPECIFIED = 0,
    /** SETTLEMENT_PENDING - The bridge retries the request by itself until the wallet has given a certain answer. No client need retry it. */
    SETTLEMENT_PENDING = 1,
    /** SETTLEMENT_SETTLED - The wallet has confirmed it, or given a code that the operator declared to mean success. It stays so. */
    SETTLEMENT_SETTLED = 2,
    /**
     * SETTLEMENT_REJECTED - The wallet answered with a no that time does not change. It does not prove that the request was never carried out:
     * the first attempt may have been, and this be the answer to its repetition. A person must look.
     */
    SETTLEMENT_REJECTED = 3,
    /** SETTLEMENT_UNRESOLVED - The bridge has given up without a certain answer. A person must look. */
    SETTLEMENT_UNRESOLVED = 4,
    /** SETTLEMENT_CLOSED - A person has closed it, with a reason. */
    SETTLEMENT_CLOSED = 5,
    UNRECOGNIZED = -1
}
export declare function settlementFromJSON(object: any): Settlement;
export declare function settlementToJSON(object: Settlement): string;
/** The first detail of every failure: what happened to the call and what is certain about it. */
export interface WalletError {
    /** What is certain about the wallet's state. */
    outcome: Outcome;
    /**
     * What went wrong, in UPPER_SNAKE_CASE: a row of the bridge's table of failures, or the reason that the operator
     * configured for the wallet's code. At most 63 characters. Equal to google.rpc.ErrorInfo.reason.
     */
    reason: string;
    /** The wallet's own result code. Unset when the wallet gave none; a code that the bridge does not know stays as it is. */
    code?: bigint | undefined;
    /** The wallet's own message, for people: control characters removed, cut to 256 characters. Never decide by it. */
    message: string;
    /** The wallet's own identifier of the request, to quote to the wallet's support: cleaned and cut as `message` is. */
    requestId: string;
    /** The HTTP status of the wallet's answer, 100 to 599. 0 when there was no answer. */
    httpStatus: number;
    /** How many POSTs the bridge began for this call, 0 or more. Above 1 the bridge has retried it already. */
    attempts: number;
    /**
     * The id of this call, always set, 1 to 64 characters of A-Za-z0-9._-: the caller's own where its metadata had one
     * `x-request-id` of that form, else a UUID made by the bridge. The bridge's log has it: quote it to its operator. The
     * wallet does not know it. Equal to the trailer `wallet-call-id`, which ends a call with OK too.
     */
    callId: string;
    /**
     * SETTLEMENT_PENDING where the bridge goes on by itself: do not retry the call, ask SettlementService.GetSettlement
     * with this call_id what came of it. Unset everywhere else; no other value stands here.
     */
    settlement: Settlement;
}
export declare const WalletError: MessageFns<WalletError>;
type Builtin = Date | Function | Uint8Array | string | number | boolean | bigint | undefined;
export type DeepPartial<T> = T extends bigint ? string | number | bigint : T extends Builtin ? T : T extends globalThis.Array<infer U> ? globalThis.Array<DeepPartial<U>> : T extends ReadonlyArray<infer U> ? ReadonlyArray<DeepPartial<U>> : T extends {
    $case: string;
    value: unknown;
} ? {
    $case: T["$case"];
    value?: DeepPartial<T["value"]>;
} : T extends {} ? {
    [K in keyof T]?: DeepPartial<T[K]>;
} : Partial<T>;
type KeysOfUnion<T> = T extends T ? keyof T : never;
export type Exact<P, I extends P> = P extends Builtin ? P : P & {
    [K in keyof P]: Exact<P[K], I[K]>;
} & {
    [K in Exclude<keyof I, KeysOfUnion<P>>]: never;
};
export interface MessageFns<T> {
    encode(message: T, writer?: BinaryWriter): BinaryWriter;
    decode(input: BinaryReader | Uint8Array, length?: number): T;
    fromJSON(object: any): T;
    toJSON(message: T): unknown;
    create<I extends Exact<DeepPartial<T>, I>>(base?: I): T;
    fromPartial<I extends Exact<DeepPartial<T>, I>>(object: I): T;
}
export {};
