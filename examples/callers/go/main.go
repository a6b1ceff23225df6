// Command first makes the first call of a game service in Go: one that succeeds, one that fails, and what the failure
// says. Usage: first ADDRESS [TOKEN...]
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // without it healthCheckConfig is ignored without a word
	"google.golang.org/grpc/status"

	walletv1 "wallet-bridge.example/go/wallet/v1"
)

func main() {
	conn, err := grpc.NewClient("dns:///"+os.Args[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(walletv1.ServiceConfig))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	tokens := os.Args[2:]
	if len(tokens) == 0 {
		tokens = []string{"first-call", "test-echo-player"}
	}
	for _, token := range tokens {
		fmt.Println(terminate(conn, token))
	}
}

// terminate ends the session of a token and says how that ended.
func terminate(conn *grpc.ClientConn, token string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	answer, err := walletv1.NewWalletServiceClient(conn).Terminate(ctx, &walletv1.TerminateRequest{
		Token: token, PlayerId: 1, SiteId: 1, ProviderId: 1, GameId: "example", Currency: "EUR",
	})
	if err != nil {
		return failureText(status.Convert(err))
	}
	return fmt.Sprintf("OK code=%d balance=%s", answer.Code, answer.Balance.GetValue())
}

// failureText decides by the outcome, the first field of the first detail; without details nothing is certain.
func failureText(failed *status.Status) string {
	name := code.Code_name[int32(failed.Code())]
	for _, detail := range failed.Details() {
		if wallet, ok := detail.(*walletv1.WalletError); ok {
			return fmt.Sprintf("%s %s %s call_id=%s", name, wallet.Outcome, wallet.Reason, wallet.CallId)
		}
	}
	return name + " without details: the token may be alive or dead"
}
