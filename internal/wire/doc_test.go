package wire

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestDocument holds docs/protocol.md to the code: each example is read, each
// code and reason is there with what follows from it.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	doc, examples := string(b), 0
	for line := range strings.Lines(doc) {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "<- "); ok {
			examples++
			list, err := DecodeFrame(JSON, []byte(text))
			if err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			if _, unknown := list[0].(*Unknown); unknown {
				t.Errorf("%s: there is no such message", text)
			}
		}
		if text, ok := strings.CutPrefix(line, "-> "); ok {
			examples++
			if _, err := ParseCommand(JSONNative, []byte(text)); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	if examples < 15 {
		t.Errorf("%d examples were found", examples)
	}
	for c := Code(400); c < 600; c++ {
		if strings.HasPrefix(c.Text(), "error ") {
			continue
		}
		row := fmt.Sprintf("| %d | %s |", c, c.Text())
		yes := map[bool]string{true: "| yes |", false: "| no |"}[c.Retry()]
		found := false
		for line := range strings.Lines(doc) {
			found = found || strings.HasPrefix(line, row) && strings.Contains(line, yes)
		}
		if !found {
			t.Errorf("no row %s … %s", row, yes)
		}
	}
	advice := map[Advice]string{RetryNever: "| do not retry unchanged |", RetryBackoff: "| back off |", RetryNow: "| connect again at once |"}
	for r := ClientClosed; int(r) < NumReasons; r++ {
		if r.CloseCode() == 0 {
			continue
		}
		code := ""
		if r.Code() != 0 {
			code = fmt.Sprint(int(r.Code()), " ")
		}
		row := fmt.Sprintf("| %d | %s| `%s`", r.CloseCode(), code, r)
		found := false
		for line := range strings.Lines(doc) {
			found = found || strings.HasPrefix(line, row) && (r == ClientClosed || strings.Contains(line, advice[r.Advice()]))
		}
		if !found {
			t.Errorf("no row %s … %s", row, advice[r.Advice()])
		}
	}
}
