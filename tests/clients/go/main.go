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

	walletv1 "wallet-bridge/wallet/v1"
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

func run(c testCase, address, config string) {
	conn, err := Connect(address, config)
	check(err)
	defer conn.Close()
	request := &walletv1.TerminateRequest{
		Token: c.Token, PlayerId: id(c.PlayerID), SiteId: id(c.SiteID), ProviderId: id(c.ProviderID),
		GameId: c.GameID, Currency: c.Currency,
	}
	answer, failure := Terminate(conn, request, time.Duration(c.DeadlineMs)*time.Millisecond, c.RequestID)
	fmt.Printf("# %s\n", c.Name)
	if failure != nil {
		printFailure(failure, c)
		return
	}
	response, balance := answer.Response, "-"
	if response.Balance != nil {
		balance = response.Balance.Value
	}
	fmt.Printf("OK code=%d token=%s player_id=%d site_id=%d provider_id=%d game_id=%s balance=%s call_id=%s\n-> %s\n",
		response.Code, response.Token, response.PlayerId, response.SiteId, response.ProviderId, response.GameId,
		balance, callIDText(answer.CallID, c), Done)
}

func printFailure(f *Failure, c testCase) {
	walletCode, retryAfter := "-", "-"
	if f.Wallet != nil && f.Wallet.Code != nil {
		walletCode = strconv.FormatUint(*f.Wallet.Code, 10)
	}
	if f.Retry != nil {
		retryAfter = strconv.FormatInt(f.Retry.RetryDelay.AsDuration().Milliseconds(), 10)
	}
	fmt.Printf("%s %s outcome=%s code=%s http_status=%d attempts=%d\n", code.Code_name[int32(f.Code)],
		f.Wallet.GetReason(), f.Wallet.GetOutcome(), walletCode, f.Wallet.GetHttpStatus(), f.Wallet.GetAttempts())
	fmt.Printf("   domain=%s cause=%s retry_after_ms=%s request_id=%s call_id=%s\n", text(f.Info.GetDomain()),
		text(f.Info.GetMetadata()["cause"]), retryAfter, requestID(f), failedCallID(f, c))
	fmt.Printf("-> %s\n", f.Next())
}

// requestID says whose id RequestInfo carries: the wallet's, else the call's. The values are others in every run.
func requestID(f *Failure) string {
	told := f.Request.GetRequestId()
	switch {
	case f.Wallet.GetRequestId() != "" && told == f.Wallet.GetRequestId():
		return "given"
	case f.Wallet.GetRequestId() != "" || told != f.Wallet.GetCallId():
		return "differs"
	case told == "":
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
func callIDText(told string, c testCase) string {
	switch told {
	case "":
		return "-"
	case c.RequestID:
		return "sent"
	default:
		return "made"
	}
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
