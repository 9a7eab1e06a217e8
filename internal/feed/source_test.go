package feed_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lzstock/lzstock/internal/feed"
	"github.com/lzstock/lzstock/internal/feed/sim"
)

func TestParseSource(t *testing.T) {
	for text, want := range map[string]feed.Source{
		"sim":                              {Sim: &sim.Options{}},
		"sim?seed=1&symbols=100&rate=2000": {Sim: &sim.Options{Seed: 1, Symbols: 100, Rate: 2000}},
		"sim?halts=60":                     {Sim: &sim.Options{Halts: 60}},
		"sim?halts=0":                      {Sim: &sim.Options{Halts: sim.NoHalts}},
		"tape:a.csv":                       {Tape: &feed.Tape{File: "a.csv"}},
		"tape:-?speed=2":                   {Tape: &feed.Tape{File: "-", Speed: 2}},
		"tape:../x/us-equities.csv.gz?speed=60&loop=true": {
			Tape: &feed.Tape{File: "../x/us-equities.csv.gz", Speed: 60, Loop: true},
		},
		"tape:a?speed=max&offset=5m0s&skip_bad=true": {
			Tape: &feed.Tape{File: "a", Speed: feed.MaxSpeed, Offset: 5 * time.Minute, SkipBad: true},
		},
		"tape:why?.csv?speed=0.5": {Tape: &feed.Tape{File: "why?.csv", Speed: 0.5}},
		`tape:C:\a.csv`:           {Tape: &feed.Tape{File: `C:\a.csv`}},
	} {
		got, err := feed.ParseSource(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", text, err, diff)
		}
		if got.String() != text {
			t.Errorf("%s is written as %s", text, got)
		}
	}
}

func TestParseSourceRefusesAndSaysWhatWouldBeRight(t *testing.T) {
	for text, want := range map[string]string{
		"":                          `unknown kind "": want sim or tape:FILE`,
		"simm":                      `unknown kind "simm" (did you mean "sim"?)`,
		"tap:x":                     `(did you mean "tape"?)`,
		"../data/x.csv.gz":          "want tape:../data/x.csv.gz",
		"tape":                      "the file is missing",
		"tape:":                     "the file is missing",
		"sim:x":                     "nothing may follow",
		"sim?":                      "nothing follows",
		"sim?sede=1":                `unknown option "sede" (did you mean "seed"?): want seed, symbols, rate, halts`,
		"sim?speed=1":               `unknown option "speed"`,
		"sim?seed=-1":               "seed is \"-1\": want a whole number",
		"sim?rate=0":                "rate is \"0\": want a whole number from 1 to 1000000",
		"sim?halts=-1":              "halts is \"-1\": want a whole number from 0 to 3600",
		"sim?halts=3601":            "want a whole number from 0 to 3600",
		"sim?symbols=many":          "symbols is \"many\"",
		"sim?seed=1&seed=2":         "given twice",
		"sim?seed":                  "has no value: want seed=VALUE",
		"sim?seed=":                 "has no value",
		"sim?seed=1&":               `unknown option ""`,
		"tape:x?speed=fast":         `speed is "fast": want a factor from 0.001 to 1000000, such as 60, or max`,
		"tape:x?speed=0":            "want a factor",
		"tape:x?speed=-1":           "want a factor",
		"tape:x?speed=NaN":          "want a factor",
		"tape:x?speed=inf":          "want a factor",
		"tape:x?loop=yes":           "want true or false",
		"tape:x?offset=5":           "want a duration such as 90s",
		"tape:x?offset=-5m":         "want a duration",
		"tape:x?skipbad=true":       `(did you mean "skip_bad"?)`,
		"tape:-?loop=true":          "standard input cannot be read again",
		"tape:x?zzzzzzzzzzzzzzzz=1": "want speed, loop, offset, skip_bad",
	} {
		_, err := feed.ParseSource(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	for name, s := range map[string]feed.Source{
		"nothing": {},
		"both":    {Tape: &feed.Tape{File: "x"}, Sim: &sim.Options{}},
		"no file": {Tape: &feed.Tape{}},
		"speed":   {Tape: &feed.Tape{File: "x", Speed: -3}},
		"offset":  {Tape: &feed.Tape{File: "x", Offset: -3}},
		"rate":    {Sim: &sim.Options{Rate: -1}},
	} {
		if s.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSpeedAsText(t *testing.T) {
	for _, text := range []string{"60", "0.5", "max", "1"} {
		var s feed.Speed
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Error(err)
		}
		if got, err := s.MarshalText(); err != nil || string(got) != text {
			t.Errorf("%s reads back as %s, %v", text, got, err)
		}
	}
	s := feed.Speed(7)
	if err := s.UnmarshalText([]byte("x")); err == nil || s != 7 {
		t.Errorf("x gives %s, %v", s, err)
	}
}
