"use strict";
// What a caller needs, under one name. Written by hand; lib/ is generated.
const { BadRequest, ErrorInfo, RequestInfo, RetryInfo } = require("./lib/google/rpc/error_details");
const { Status } = require("./lib/google/rpc/status");
const { Decimal } = require("./lib/google/type/decimal");
const { Outcome, Settlement, WalletError } = require("./lib/wallet/v1/wallet_error");
const {
  GetSettlementRequest,
  GetSettlementResponse,
  ListSettlementsRequest,
  ListSettlementsResponse,
  SettlementEntry,
  SettlementServiceClient,
} = require("./lib/wallet/v1/settlement_service");
const { TerminateRequest, TerminateResponse, WalletServiceClient } = require("./lib/wallet/v1/wallet_service");

module.exports = {
  BadRequest,
  Decimal,
  ErrorInfo,
  GetSettlementRequest,
  GetSettlementResponse,
  ListSettlementsRequest,
  ListSettlementsResponse,
  Outcome,
  RequestInfo,
  RetryInfo,
  Settlement,
  SettlementEntry,
  SettlementServiceClient,
  Status,
  TerminateRequest,
  TerminateResponse,
  WalletError,
  WalletServiceClient,
};
