"use strict";
// What a caller needs, under one name. Written by hand; lib/ is generated.
const { BadRequest, ErrorInfo, RequestInfo, RetryInfo } = require("./lib/google/rpc/error_details");
const { Status } = require("./lib/google/rpc/status");
const { Decimal } = require("./lib/google/type/decimal");
const { Outcome, WalletError } = require("./lib/wallet/v1/wallet_error");
const { TerminateRequest, TerminateResponse, WalletServiceClient } = require("./lib/wallet/v1/wallet_service");

module.exports = {
  BadRequest,
  Decimal,
  ErrorInfo,
  Outcome,
  RequestInfo,
  RetryInfo,
  Status,
  TerminateRequest,
  TerminateResponse,
  WalletError,
  WalletServiceClient,
};
