import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { type CallOptions, type ChannelCredentials, Client, type ClientOptions, type ClientUnaryCall, type handleUnaryCall, type Metadata, type ServiceError, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { Settlement } from "./wallet_error";
export declare const protobufPackage = "wallet.v1";
export declare const protobufFileName = "wallet/v1/settlement_service.proto";
/** One request that the bridge settles: it may stand for several calls of the same request. */
export interface SettlementEntry {
    /** The bridge's own id of the entry, a random text. */
    entryId: string;
    /** The call_ids of the calls that it stands for, 1 or more, oldest first. Callers choose them: they are not unique. */
    callIds: string[];
    /** Where it stands. */
    state: Settlement;
    /** The operation's full name: wallet.v1.WalletService/Terminate. */
    operation: string;
    /** The provider whose credentials sign it. */
    providerId: bigint;
    /** What the bridge's log shows for the token: a keyed hash. "" where there is none. */
    tokenFingerprint: string;
    /** When the first of its calls ended. */
    createTime: Date | undefined;
    /** When the next attempt is due; set while it is PENDING. */
    dueTime: Date | undefined;
    /** How many attempts the bridge has made by itself, 0 or more; the call's own are not among them. */
    attempts: number;
    /** Why the last attempt did not succeed: a reason as in WalletError.reason; "" where there was none. */
    lastReason: string;
    /** The wallet's result code in the last answer. Unset where there was none. */
    lastCode?: bigint | undefined;
    /** When it became SETTLED or CLOSED; set then alone. */
    endTime: Date | undefined;
    /** Why a person closed it; "" unless it is CLOSED. */
    closeReason: string;
}
/** Which call is asked about. */
export interface GetSettlementRequest {
    /** The call's id: WalletError.call_id, or the trailer `wallet-call-id`. 1 to 64 characters of A-Za-z0-9._-. */
    callId: string;
}
/** What became of the call. */
export interface GetSettlementResponse {
    /** The newest entry that this call_id stands in. */
    entry: SettlementEntry | undefined;
    /** In how many entries of this caller it stands. Above 1 the call_id was used for several requests. */
    count: number;
}
/** Which entries are asked for, and how many at once. */
export interface ListSettlementsRequest {
    /** At most so many entries, 1 to 100; 0 for 50. More than 100 is taken as 100. */
    pageSize: number;
    /** The next_page_token of the answer before, unchanged, with the same state; "" for the first page. */
    pageToken: string;
    /** Only entries of this state; SETTLEMENT_UNSPECIFIED for all. */
    state: Settlement;
}
/** One page of entries. */
export interface ListSettlementsResponse {
    /** The entries, newest first. */
    entries: SettlementEntry[];
    /** For the next page; "" after the last one. */
    nextPageToken: string;
}
export declare const SettlementEntry: MessageFns<SettlementEntry>;
export declare const GetSettlementRequest: MessageFns<GetSettlementRequest>;
export declare const GetSettlementResponse: MessageFns<GetSettlementResponse>;
export declare const ListSettlementsRequest: MessageFns<ListSettlementsRequest>;
export declare const ListSettlementsResponse: MessageFns<ListSettlementsResponse>;
/**
 * What the bridge does about requests whose outcome was unknown. Served where the operator has switched settlement on;
 * UNIMPLEMENTED elsewhere. No rpc of it is a call of the wallet, and no answer of it holds a token.
 *
 * Failures are plain statuses: INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, and UNAVAILABLE where the bridge cannot
 * reach its store, which may be asked again.
 */
export type SettlementServiceService = typeof SettlementServiceService;
export declare const SettlementServiceService: {
    /**
     * GetSettlement returns what became of a call that ended with WalletError.settlement = SETTLEMENT_PENDING.
     *
     * Only for the identity that made the call; to anybody else there is no such call. NOT_FOUND proves nothing about the
     * token: the entry may have been removed some days after its end, or never have been made.
     */
    readonly getSettlement: {
        readonly path: "/wallet.v1.SettlementService/GetSettlement";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: GetSettlementRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => GetSettlementRequest;
        readonly responseSerialize: (value: GetSettlementResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => GetSettlementResponse;
    };
    /**
     * ListSettlements returns all entries that are kept, newest first, in pages (AIP-158).
     *
     * Only for the identities in the bridge's setting settlement.allowed_identities. Where that is unset: for everybody
     * who may call, if calls have no list of identities either, and else for no one.
     */
    readonly listSettlements: {
        readonly path: "/wallet.v1.SettlementService/ListSettlements";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: ListSettlementsRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => ListSettlementsRequest;
        readonly responseSerialize: (value: ListSettlementsResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => ListSettlementsResponse;
    };
};
export interface SettlementServiceServer extends UntypedServiceImplementation {
    /**
     * GetSettlement returns what became of a call that ended with WalletError.settlement = SETTLEMENT_PENDING.
     *
     * Only for the identity that made the call; to anybody else there is no such call. NOT_FOUND proves nothing about the
     * token: the entry may have been removed some days after its end, or never have been made.
     */
    getSettlement: handleUnaryCall<GetSettlementRequest, GetSettlementResponse>;
    /**
     * ListSettlements returns all entries that are kept, newest first, in pages (AIP-158).
     *
     * Only for the identities in the bridge's setting settlement.allowed_identities. Where that is unset: for everybody
     * who may call, if calls have no list of identities either, and else for no one.
     */
    listSettlements: handleUnaryCall<ListSettlementsRequest, ListSettlementsResponse>;
}
export interface SettlementServiceClient extends Client {
    /**
     * GetSettlement returns what became of a call that ended with WalletError.settlement = SETTLEMENT_PENDING.
     *
     * Only for the identity that made the call; to anybody else there is no such call. NOT_FOUND proves nothing about the
     * token: the entry may have been removed some days after its end, or never have been made.
     */
    getSettlement(request: GetSettlementRequest, callback: (error: ServiceError | null, response: GetSettlementResponse) => void): ClientUnaryCall;
    getSettlement(request: GetSettlementRequest, metadata: Metadata, callback: (error: ServiceError | null, response: GetSettlementResponse) => void): ClientUnaryCall;
    getSettlement(request: GetSettlementRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: GetSettlementResponse) => void): ClientUnaryCall;
    /**
     * ListSettlements returns all entries that are kept, newest first, in pages (AIP-158).
     *
     * Only for the identities in the bridge's setting settlement.allowed_identities. Where that is unset: for everybody
     * who may call, if calls have no list of identities either, and else for no one.
     */
    listSettlements(request: ListSettlementsRequest, callback: (error: ServiceError | null, response: ListSettlementsResponse) => void): ClientUnaryCall;
    listSettlements(request: ListSettlementsRequest, metadata: Metadata, callback: (error: ServiceError | null, response: ListSettlementsResponse) => void): ClientUnaryCall;
    listSettlements(request: ListSettlementsRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: ListSettlementsResponse) => void): ClientUnaryCall;
}
export declare const SettlementServiceClient: {
    new (address: string, credentials: ChannelCredentials, options?: Partial<ClientOptions>): SettlementServiceClient;
    service: typeof SettlementServiceService;
    serviceName: string;
};
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
