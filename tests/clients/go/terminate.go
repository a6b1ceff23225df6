package main

import (
	"context"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // without it healthCheckConfig is ignored without a word
	"google.golang.org/grpc/status"

	walletv1 "wallet-bridge/wallet/v1"
)

// Connect opens one channel, to be kept and shared by the whole service. In production: credentials.NewTLS.
func Connect(address, serviceConfig string) (*grpc.ClientConn, error) {
	return grpc.NewClient("dns:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig))
}

// Failure is everything that a failed call tells. What the bridge did not send is nil.
type Failure struct {
	Code    codes.Code
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
	Mend   Next = "MEND"   // nothing happened, and nothing will before the cause is mended
	Check  Next = "CHECK"  // the token may be alive or dead: find out, or repeat Terminate deliberately
)

// Terminate ends a session. Ids are uint64 as in the proto.
func Terminate(conn *grpc.ClientConn, request *walletv1.TerminateRequest, deadline time.Duration) (*walletv1.TerminateResponse, *Failure) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	response, err := walletv1.NewWalletServiceClient(conn).Terminate(ctx, request)
	if err != nil {
		return nil, failureOf(err)
	}
	return response, nil
}

func failureOf(err error) *Failure {
	failed := status.Convert(err)
	failure := &Failure{Code: failed.Code()}
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
