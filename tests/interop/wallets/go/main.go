// The interoperability suite's wallet on Go's net/http. See ../../README.md for what every wallet does.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var tokenPattern = regexp.MustCompile(`"token":"([^"]*)"`)

type wallet struct {
	ledger        *os.File
	authorization string
	privateKey    []byte
	slow          time.Duration
}

// fault names what is wrong with a request; "-" for nothing.
func (w *wallet) fault(header http.Header, body []byte) string {
	mac := hmac.New(sha256.New, w.privateKey)
	mac.Write(body)
	switch {
	case header.Get("Content-Length") != strconv.Itoa(len(body)):
		return "content-length"
	case header.Get("Authorization") != w.authorization:
		return "authorization"
	case header.Get("X-Request-Signature") != hex.EncodeToString(mac.Sum(nil)):
		return "signature"
	}
	return "-"
}

// ServeHTTP records the request and answers it.
func (w *wallet) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	token := "none"
	if found := tokenPattern.FindSubmatch(body); found != nil {
		token = string(found[1])
	}
	fault := w.fault(request.Header, body)
	// One write of a file that is open for appending: lines never mix.
	fmt.Fprintf(w.ledger, "%s %s %s\n", token, fault, base64.StdEncoding.EncodeToString(body))
	response.Header().Set("Content-Type", "application/json")
	if fault != "-" {
		response.WriteHeader(http.StatusUnauthorized)
		io.WriteString(response, `{"code":3,"status":false,"message":"refused"}`)
		return
	}
	if strings.Contains(token, "slow") {
		time.Sleep(w.slow)
	}
	io.WriteString(response, `{"code":1,"status":true,"message":"","request_id":"r","balance":1.50,`+string(body[1:]))
}

func seconds(name string) time.Duration {
	value, err := strconv.ParseFloat(os.Getenv(name), 64)
	if err != nil {
		log.Fatalf("%s: %v", name, err)
	}
	return time.Duration(value * float64(time.Second))
}

func newWallet() *wallet {
	ledger, err := os.OpenFile(os.Getenv("INTEROP_LEDGER"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		log.Fatal(err)
	}
	return &wallet{ledger, os.Getenv("INTEROP_AUTHORIZATION"), []byte(os.Getenv("INTEROP_PRIVATE_KEY")), seconds("INTEROP_SLOW_S")}
}

func newServer() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("POST /api/wallet/terminate", newWallet())
	server := &http.Server{Handler: mux, IdleTimeout: seconds("INTEROP_IDLE_S"), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	if os.Getenv("INTEROP_ODD") != "" {
		server.MaxHeaderBytes = 2048
		server.HTTP2 = &http.HTTP2Config{
			MaxConcurrentStreams:      1,
			MaxDecoderHeaderTableSize: 1,
			MaxReadFrameSize:          16384,
			MaxReceiveBufferPerStream: 1,
		}
	}
	return server
}

func main() {
	// Descriptor 0 is the listening socket that the suite hands over.
	listener, err := net.FileListener(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	server, ended := newServer(), make(chan error, 1)
	go func() {
		if certificate := os.Getenv("INTEROP_CERTIFICATE"); certificate != "" {
			ended <- server.ServeTLS(listener, certificate, os.Getenv("INTEROP_KEY"))
		} else {
			ended <- server.Serve(listener)
		}
	}()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	fmt.Println("ready")
	select {
	case err := <-ended:
		if !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	case <-stop:
		until, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := server.Shutdown(until); err != nil {
			log.Print(err)
		}
	}
}
