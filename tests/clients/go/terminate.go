package main

import (
	"context"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // without it healthCheckConfig is ignored without a word
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	walletv1 "wallet-bridge.example/go/wallet/v1"
)

// Connect opens one channel, to be kept and shared by the whole service. In production: credentials.NewTLS.
func Connect(address, serviceConfig string, keepaliveTime time.Duration) (*grpc.ClientConn, error) {
	return grpc.NewClient("dns:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig),
		// A connection that has died without a word is found by its pings, with calls in flight or without. The library
		// takes at least 10 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, PermitWithoutStream: true}))
}

// Answer is a call that the wallet has confirmed.
type Answer struct {
	Response *walletv1.TerminateResponse
	CallID   string // by which the bridge's operator finds the call: log it
}

// Failure is everything that a failed call reports. What the bridge did not send is nil.
type Failure struct {
	Code    codes.Code
	CallID  string // as in Answer; "" where a library or a proxy ended the call, not the bridge
	Wallet  *walletv1.WalletError
	Info    *errdetails.ErrorInfo
	Request *errdetails.RequestInfo
	Retry   *errdetails.RetryInfo
}

// Next is what the game service does after a call.
type Next string

const (
	Done   Next = "DONE"   // the wallet has confirmed that the token is deactivated
	Repeat Next = "REPEAT" // nothing happened: the same call again, later
	Mend   Next = "MEND"   // nothing happened, and nothing will before the cause is fixed
	Wait   Next = "WAIT"   // the bridge retries the call by itself until it is certain: ask SettlementService later
	Check  Next = "CHECK"  // the token may be alive or dead: find out, or retry Terminate deliberately
)

// Terminate ends a session. Ids are uint64 as in the proto. requestID is your own id of the call, for logs; without one
// the bridge makes it.
func Terminate(conn *grpc.ClientConn, request *walletv1.TerminateRequest, deadline time.Duration, requestID string) (*Answer, *Failure) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if requestID != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-request-id", requestID)
	}
	var trailer metadata.MD
	response, err := walletv1.NewWalletServiceClient(conn).Terminate(ctx, request, grpc.Trailer(&trailer))
	if err != nil {
		return nil, failureOf(err, callID(trailer))
	}
	return &Answer{response, callID(trailer)}, nil
}

// callID returns the id with which the bridge ends every call.
func callID(trailer metadata.MD) string {
	for _, id := range trailer.Get("wallet-call-id") {
		return id
	}
	return ""
}

func failureOf(err error, callID string) *Failure {
	failed := status.Convert(err)
	failure := &Failure{Code: failed.Code(), CallID: callID}
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *walletv1.WalletError:
			failure.Wallet = detail
		case *errdetails.ErrorInfo:
			failure.Info = detail
		case *errdetails.RequestInfo:
			failure.Request = detail
		case *errdetails.RetryInfo:
			failure.Retry = detail
		}
	}
	return failure
}

// Next decides by the outcome first. A failure without details comes from a library or a proxy: nothing is certain.
func (f *Failure) Next() Next {
	if f.Wallet.GetSettlement() == walletv1.Settlement_SETTLEMENT_PENDING {
		return Wait
	}
	switch f.Wallet.GetOutcome() {
	case walletv1.Outcome_OUTCOME_NOT_PROCESSED:
		return Repeat
	case walletv1.Outcome_OUTCOME_NOT_SENT, walletv1.Outcome_OUTCOME_REJECTED:
		if f.Code == codes.Unavailable || f.Retry != nil { // f.Retry says how long to wait
			return Repeat
		}
		return Mend
	default:
		return Check
	}
}
