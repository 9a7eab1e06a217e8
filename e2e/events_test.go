package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lzstock/lzstock/internal/testcert"
)

// TestEventStream publishes a real day while a browser's like reads it as server-sent
// events, cut off again and again, from one gateway and another, with TLS and without:
// what the ids bring is the tape, each event once and in order.
func TestEventStream(t *testing.T) {
	file := tape(t, "us-equities.csv.gz")
	cert, key, roots := testcert.Write(t, t.TempDir(), 1)
	listen, grpc, other := freeAddr(t), freeAddr(t), freeAddr(t)
	p := start(t, "up", "--listen", listen, "--grpc", grpc, "--source", "none")
	start(t, "gateway", "--listen", other, "--monitor", grpc, "--tls-cert", cert, "--tls-key", key)
	var want []string
	for _, k := range readTape(t, file) {
		want = append(want, k.String())
	}
	c := open(t, listen, "/v1/stream?trades=A").listen(0).waitSubscribed()
	last := fmt.Sprintf("%d-0", c.messages()[0].number("epoch"))
	published := make(chan struct{})
	go func() { defer close(published); publishTape(t, file, grpc) }()
	defer func() { <-published }()
	hc := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
	r := rand.New(rand.NewPCG(7, 7))
	var got []string
	connections := 0
	begun := time.Now()
	for ; len(got) < len(want); connections++ {
		if time.Since(begun) > patience {
			t.Fatalf("%d of %d events on %d connections", len(got), len(want), connections)
		}
		base := []string{"http://" + listen, "https://" + other}[connections%2]
		list, id := readEvents(t, hc, base+"/v1/events?delivery=every&trades=*&quotes=*", last, 1+r.IntN(len(want)/4))
		got = append(got, list...)
		if id != "" {
			last = id
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d events on %d connections are not the tape's %d", len(got), connections, len(want))
	}
	if connections < 4 {
		t.Errorf("only %d connections", connections)
	}
	hc.CloseIdleConnections()
	_ = c.conn.Close()
	eventually(t, "the end of all streams", func() bool {
		return p.metric("lzstock_gateway_event_streams") == 0 && p.metric("lzstock_gateway_sockets") == 0
	})
}

// readEvents reads a stream from behind an event, until so many events have come, and
// gives them with the id of the last message that came whole.
func readEvents(t *testing.T, hc *http.Client, url, after string, most int) (got []string, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Last-Event-ID", after)
	resp, err := hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s: %s %v", url, resp.Status, resp.Header)
	}
	var data, next string
	idle := time.AfterFunc(2*time.Second, cancel) // the day is over
	defer idle.Stop()
	for in := bufio.NewReaderSize(resp.Body, 64<<10); len(got) < most; {
		line, err := in.ReadString('\n')
		if err != nil {
			return got, id
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case field == "event":
			t.Fatalf("%s", line)
		case field == "data":
			data = value
		case field == "id":
			next = value
		case line == "\n" && data != "":
			id = next
			var list []message
			d := json.NewDecoder(strings.NewReader(data))
			d.UseNumber()
			if err := d.Decode(&list); err != nil {
				t.Fatalf("%v in %s", err, data)
			}
			for _, m := range list {
				switch m.text("T") {
				case "gap", "error":
					t.Fatalf("%v", m)
				case "t", "q":
					got = append(got, fromWire(m).String())
					idle.Reset(2 * time.Second)
				}
			}
			data = ""
		}
	}
	return got, id
}
