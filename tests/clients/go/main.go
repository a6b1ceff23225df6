// Command terminate runs the cases of cases.json and prints what each ends with, as the samples in all languages do.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"

	walletv1 "wallet-bridge.example/go/wallet/v1"
)

type testCase struct {
	Name       string
	Bridge     string
	Config     string
	Token      string
	PlayerID   string `json:"playerId"`
	SiteID     string `json:"siteId"`
	ProviderID string `json:"providerId"`
	GameID     string `json:"gameId"`
	Currency   string
	RequestID  string `json:"requestId"`
	DeadlineMs int64
	Keepalive  int64 `json:"keepaliveMs"`
	Warm       bool
	IdleMs     int64
	Calls      int
}

// Usage: terminate FOLDER, where run.py has written cases.json, bridges.json and the service configs.
func main() {
	folder := os.Args[1]
	var cases []testCase
	var bridges map[string]string
	read(filepath.Join(folder, "cases.json"), &cases)
	read(filepath.Join(folder, "bridges.json"), &bridges)
	for _, c := range cases {
		config, err := os.ReadFile(filepath.Join(folder, c.Config+".json"))
		check(err)
		run(c, bridges[c.Bridge], string(config))
	}
}

// run makes a case's calls, one after the other on a channel of its own, and prints how they end.
func run(c testCase, address, config string) {
	conn, err := Connect(address, config, ms(c.Keepalive))
	check(err)
	defer conn.Close()
	if c.Warm { // connects and loads everything, so that the case's own calls are timed alone
		Terminate(conn, request(c, "warm"), 20*time.Second, "")
	}
	time.Sleep(ms(c.IdleMs))
	var texts []string
	counts := map[string]int{}
	for range c.Calls {
		text := endText(c, conn)
		if counts[text] == 0 {
			texts = append(texts, text)
		}
		counts[text]++
	}
	fmt.Printf("# %s\n", c.Name)
	for _, text := range texts {
		if c.Calls > 1 {
			fmt.Printf("%d x ", counts[text])
		}
		fmt.Println(text)
	}
}

func request(c testCase, token string) *walletv1.TerminateRequest {
	return &walletv1.TerminateRequest{
		Token: token, PlayerId: id(c.PlayerID), SiteId: id(c.SiteID), ProviderId: id(c.ProviderID),
		GameId: c.GameID, Currency: c.Currency,
	}
}

// endText makes one call and says how it ended.
func endText(c testCase, conn *grpc.ClientConn) string {
	answer, failure := Terminate(conn, request(c, c.Token), ms(c.DeadlineMs), c.RequestID)
	if failure != nil {
		return failureText(failure, c)
	}
	response, balance := answer.Response, "-"
	if response.Balance != nil {
		balance = response.Balance.Value
	}
	return fmt.Sprintf("OK code=%d token=%s player_id=%d site_id=%d provider_id=%d game_id=%s balance=%s call_id=%s\n-> %s",
		response.Code, response.Token, response.PlayerId, response.SiteId, response.ProviderId, response.GameId,
		balance, callIDText(answer.CallID, c), Done)
}

func failureText(f *Failure, c testCase) string {
	walletCode, retryAfter := "-", "-"
	if f.Wallet != nil && f.Wallet.Code != nil {
		walletCode = strconv.FormatUint(*f.Wallet.Code, 10)
	}
	if f.Retry != nil {
		retryAfter = strconv.FormatInt(f.Retry.RetryDelay.AsDuration().Milliseconds(), 10)
	}
	first := fmt.Sprintf("%s %s outcome=%s code=%s http_status=%d attempts=%d", code.Code_name[int32(f.Code)],
		f.Wallet.GetReason(), f.Wallet.GetOutcome(), walletCode, f.Wallet.GetHttpStatus(), f.Wallet.GetAttempts())
	second := fmt.Sprintf("   domain=%s cause=%s retry_after_ms=%s request_id=%s call_id=%s", text(f.Info.GetDomain()),
		text(f.Info.GetMetadata()["cause"]), retryAfter, requestID(f), failedCallID(f, c))
	return fmt.Sprintf("%s\n%s\n-> %s", first, second, f.Next())
}

// requestID says whose id RequestInfo carries: the wallet's, else the call's. The values are others in every run.
func requestID(f *Failure) string {
	reported := f.Request.GetRequestId()
	switch {
	case f.Wallet.GetRequestId() != "" && reported == f.Wallet.GetRequestId():
		return "given"
	case f.Wallet.GetRequestId() != "" || reported != f.Wallet.GetCallId():
		return "differs"
	case reported == "":
		return "-"
	default:
		return "call_id"
	}
}

// failedCallID says whose id the call has, the same in the trailer and in both details that carry it.
func failedCallID(f *Failure, c testCase) string {
	if f.CallID != f.Wallet.GetCallId() || f.CallID != f.Info.GetMetadata()["call_id"] {
		return "differs"
	}
	return callIDText(f.CallID, c)
}

// callIDText says whose id it is: sent with the case, made by the bridge, or none.
func callIDText(reported string, c testCase) string {
	switch reported {
	case "":
		return "-"
	case c.RequestID:
		return "sent"
	default:
		return "made"
	}
}

func ms(milliseconds int64) time.Duration {
	return time.Duration(milliseconds) * time.Millisecond
}

func text(value string) string {
	if value == "" {
		return "-"
	}
	return value
}

func id(decimal string) uint64 {
	value, err := strconv.ParseUint(decimal, 10, 64)
	check(err)
	return value
}

func read(path string, into any) {
	data, err := os.ReadFile(path)
	check(err)
	check(json.Unmarshal(data, into))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
