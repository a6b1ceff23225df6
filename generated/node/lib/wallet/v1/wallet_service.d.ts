import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { type CallOptions, type ChannelCredentials, Client, type ClientOptions, type ClientUnaryCall, type handleUnaryCall, type Metadata, type ServiceError, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { Decimal } from "../../google/type/decimal";
export declare const protobufPackage = "wallet.v1";
export declare const protobufFileName = "wallet/v1/wallet_service.proto";
/** What the wallet needs in order to end a session. All of it comes from the launch URL or from the wallet's operator. */
export interface TerminateRequest {
    /**
     * The token of the session, opaque, 1 to 4096 bytes of UTF-8. Source: the launch URL's query. Never logged: only a
     * keyed fingerprint of it is.
     */
    token: string;
    /** The integrator's id of the player, 1 to 2^64-1. Source: the launch URL's query. */
    playerId: bigint;
    /** The integrator's id of the site, 1 to 2^64-1. Source: the launch URL's query. */
    siteId: bigint;
    /** The id that the wallet gave to the game provider, 1 to 2^64-1. It chooses the credentials that sign the call. */
    providerId: bigint;
    /** The game's id as the provider named it to the wallet, 1 to 4096 bytes of UTF-8. */
    gameId: string;
    /**
     * The currency of the session, opaque, 1 to 4096 bytes of UTF-8, as a rule three letters of ISO 4217.
     * Source: the launch URL's query.
     */
    currency: string;
}
/** The wallet's confirmation that the token is deactivated. A field that the wallet left out is unset. */
export interface TerminateResponse {
    /** The wallet's result code: 1, or a code that the operator declared to mean success ("already terminated"). */
    code: bigint;
    /** The wallet's text about the result. Empty on success as a rule. */
    message: string;
    /** The wallet's identifier of the request, a UUID as a rule. */
    requestId: string;
    /** The token that was deactivated: always the request's. */
    token: string;
    /** The player whose token it was: always the request's. */
    playerId: bigint;
    /** The wallet's internal id of the game. Not the request's game_id as a rule: the wallet sends a number or a text. */
    gameId: string;
    /** The site of the session: always the request's. */
    siteId: bigint;
    /** The provider of the session: always the request's. */
    providerId: bigint;
    /**
     * The player's balance after the call, 0 or more, in units of the session's currency: the exact decimal text that
     * the wallet sent, never rounded.
     */
    balance: Decimal | undefined;
}
export declare const TerminateRequest: MessageFns<TerminateRequest>;
export declare const TerminateResponse: MessageFns<TerminateResponse>;
/** The wallet's REST API as typed calls. Every failure carries a WalletError and a google.rpc.ErrorInfo as details. */
export type WalletServiceService = typeof WalletServiceService;
export declare const WalletServiceService: {
    /**
     * Terminate deactivates the token of a game session, so that it can no longer be used for any wallet operation.
     *
     * OK means that the wallet has confirmed it for exactly this token, player, site and provider. A call whose outcome
     * is UNKNOWN may have deactivated the token: retrying Terminate is harmless (it moves no money), believing that the
     * token is dead is not. Source: the wallet's page "Terminate".
     */
    readonly terminate: {
        readonly path: "/wallet.v1.WalletService/Terminate";
        readonly requestStream: false;
        readonly responseStream: false;
        readonly requestSerialize: (value: TerminateRequest) => Buffer;
        readonly requestDeserialize: (value: Buffer) => TerminateRequest;
        readonly responseSerialize: (value: TerminateResponse) => Buffer;
        readonly responseDeserialize: (value: Buffer) => TerminateResponse;
    };
};
export interface WalletServiceServer extends UntypedServiceImplementation {
    /**
     * Terminate deactivates the token of a game session, so that it can no longer be used for any wallet operation.
     *
     * OK means that the wallet has confirmed it for exactly this token, player, site and provider. A call whose outcome
     * is UNKNOWN may have deactivated the token: retrying Terminate is harmless (it moves no money), believing that the
     * token is dead is not. Source: the wallet's page "Terminate".
     */
    terminate: handleUnaryCall<TerminateRequest, TerminateResponse>;
}
export interface WalletServiceClient extends Client {
    /**
     * Terminate deactivates the token of a game session, so that it can no longer be used for any wallet operation.
     *
     * OK means that the wallet has confirmed it for exactly this token, player, site and provider. A call whose outcome
     * is UNKNOWN may have deactivated the token: retrying Terminate is harmless (it moves no money), believing that the
     * token is dead is not. Source: the wallet's page "Terminate".
     */
    terminate(request: TerminateRequest, callback: (error: ServiceError | null, response: TerminateResponse) => void): ClientUnaryCall;
    terminate(request: TerminateRequest, metadata: Metadata, callback: (error: ServiceError | null, response: TerminateResponse) => void): ClientUnaryCall;
    terminate(request: TerminateRequest, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: TerminateResponse) => void): ClientUnaryCall;
}
export declare const WalletServiceClient: {
    new (address: string, credentials: ChannelCredentials, options?: Partial<ClientOptions>): WalletServiceClient;
    service: typeof WalletServiceService;
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
