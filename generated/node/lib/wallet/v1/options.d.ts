export declare const protobufPackage = "wallet.v1";
export declare const protobufFileName = "wallet/v1/options.proto";
