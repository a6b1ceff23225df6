export { BadRequest, ErrorInfo, RequestInfo, RetryInfo } from "./lib/google/rpc/error_details";
export { Status } from "./lib/google/rpc/status";
export { Decimal } from "./lib/google/type/decimal";
export { Outcome, Settlement, WalletError } from "./lib/wallet/v1/wallet_error";
export {
  GetSettlementRequest,
  GetSettlementResponse,
  ListSettlementsRequest,
  ListSettlementsResponse,
  SettlementEntry,
  SettlementServiceClient,
} from "./lib/wallet/v1/settlement_service";
export { TerminateRequest, TerminateResponse, WalletServiceClient } from "./lib/wallet/v1/wallet_service";
