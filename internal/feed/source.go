package feed

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lzstock/lzstock/internal/feed/sim"
	"github.com/lzstock/lzstock/internal/feed/tape"
	"github.com/lzstock/lzstock/internal/nearest"
)

// Speed is how many times faster than recorded a tape plays. 0 means 1.
type Speed float64

// MaxSpeed plays a tape as fast as it is taken.
const MaxSpeed Speed = -1

// Limits of a Speed that is not MaxSpeed.
const (
	leastSpeed Speed = 0.001
	mostSpeed  Speed = 1_000_000
)

// ParseSpeed reads a factor such as "60" or "0.5", or "max".
func ParseSpeed(text string) (Speed, error) {
	if text == "max" {
		return MaxSpeed, nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if s := Speed(v); err == nil && s >= leastSpeed && s <= mostSpeed {
		return s, nil
	}
	return 0, fmt.Errorf("speed is %q: want a factor from %s to %s, such as 60, or max", text, leastSpeed, mostSpeed)
}

// String gives what ParseSpeed reads.
func (s Speed) String() string {
	if s == MaxSpeed {
		return "max"
	}
	if s == 0 {
		s = 1
	}
	return strconv.FormatFloat(float64(s), 'f', -1, 64)
}

// UnmarshalText reads what ParseSpeed does.
func (s *Speed) UnmarshalText(text []byte) error {
	v, err := ParseSpeed(string(text))
	if err == nil {
		*s = v
	}
	return err
}

// MarshalText gives String.
func (s Speed) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Tape says which tape to play, and how.
type Tape struct {
	// File is its path; "-" is standard input.
	File string
	// Speed is the factor by which it plays faster than it was recorded.
	Speed Speed
	// Loop starts it again at its end, for ever.
	Loop bool
	// Offset is how much of it to leave out at the start of the first round.
	Offset time.Duration
	// SkipBad passes over lines that are refused, instead of ending there.
	SkipBad bool
}

// Source says where events come from. Exactly one field is set.
type Source struct {
	Tape *Tape
	Sim  *sim.Options
}

// The keys of a source in text.
const (
	keySpeed, keyLoop, keyOffset, keySkipBad = "speed", "loop", "offset", "skip_bad"
	keySeed, keySymbols, keyRate, keyHalts   = "seed", "symbols", "rate", "halts"
)

// ParseSource reads a source as people write it:
//
//	sim
//	sim?seed=1&symbols=100&rate=2000&halts=60
//	tape:FILE
//	tape:FILE?speed=60&loop=true&offset=5m&skip_bad=true
//
// FILE may be "-" for standard input; speed may be max. The error names what was
// wrong and what would be right.
func ParseSource(text string) (Source, error) {
	source, err := parseSource(text)
	if err != nil {
		return Source{}, fmt.Errorf("source %q: %w", text, err)
	}
	return source, source.Validate()
}

func parseSource(text string) (Source, error) {
	head, options := text, ""
	if i := strings.LastIndexByte(text, '?'); i >= 0 {
		head, options = text[:i], text[i+1:]
		if options == "" {
			return Source{}, errors.New(`nothing follows the "?": want key=value, or no "?"`)
		}
	}
	kind, file, colon := strings.Cut(head, ":")
	switch {
	case kind == "sim" && colon:
		return Source{}, errors.New(`nothing may follow "sim" but options: want sim?seed=1&symbols=100&rate=2000&halts=60`)
	case kind == "sim":
		return parseSim(options)
	case kind == "tape" && file == "":
		return Source{}, errors.New("the file is missing: want tape:FILE")
	case kind == "tape":
		return parseTape(file, options)
	case strings.ContainsAny(head, "/.") && !colon:
		return Source{}, fmt.Errorf("it looks like a file: want tape:%s", text)
	}
	return Source{}, fmt.Errorf("unknown kind %q%s: want sim or tape:FILE", kind, suggest(kind, []string{"sim", "tape"}))
}

func parseSim(text string) (Source, error) {
	opts := &sim.Options{}
	err := eachOption(text, []string{keySeed, keySymbols, keyRate, keyHalts}, func(key, value string) error {
		if key == keySeed {
			v, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return fmt.Errorf("seed is %q: want a whole number, 0 or more", value)
			}
			opts.Seed = v
			return nil
		}
		into, least, most := &opts.Symbols, 1, sim.MaxSymbols
		switch key {
		case keyRate:
			into, most = &opts.Rate, sim.MaxRate
		case keyHalts:
			into, least, most = &opts.Halts, 0, sim.MaxHalts
		}
		v, err := strconv.Atoi(value)
		if err != nil || v < least || v > most {
			return fmt.Errorf("%s is %q: want a whole number from %d to %d", key, value, least, most)
		}
		if *into = v; v == 0 {
			*into = sim.NoHalts
		}
		return nil
	})
	return Source{Sim: opts}, err
}

func parseTape(file, text string) (Source, error) {
	t := &Tape{File: file}
	err := eachOption(text, []string{keySpeed, keyLoop, keyOffset, keySkipBad}, func(key, value string) (err error) {
		switch key {
		case keySpeed:
			t.Speed, err = ParseSpeed(value)
			return err
		case keyOffset:
			if t.Offset, err = time.ParseDuration(value); err != nil || t.Offset < 0 {
				return fmt.Errorf("offset is %q: want a duration such as 90s, 5m or 1h30m", value)
			}
			return nil
		}
		yes, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%s is %q: want true or false", key, value)
		}
		if key == keyLoop {
			t.Loop = yes
		} else {
			t.SkipBad = yes
		}
		return nil
	})
	return Source{Tape: t}, err
}

// eachOption calls set for each key=value, which is one of keys and comes once.
func eachOption(text string, keys []string, set func(key, value string) error) error {
	if text == "" {
		return nil
	}
	seen := make(map[string]bool)
	for option := range strings.SplitSeq(text, "&") {
		key, value, ok := strings.Cut(option, "=")
		known := false
		for _, k := range keys {
			known = known || k == key
		}
		switch {
		case !known:
			return fmt.Errorf("unknown option %q%s: want %s", key, suggest(key, keys), strings.Join(keys, ", "))
		case !ok || value == "":
			return fmt.Errorf("option %s has no value: want %s=VALUE", key, key)
		case seen[key]:
			return fmt.Errorf("option %s is given twice: want it once", key)
		}
		seen[key] = true
		if err := set(key, value); err != nil {
			return err
		}
	}
	return nil
}

// suggest asks whether a known word was meant that is near to word.
func suggest(word string, known []string) string {
	if name := nearest.Name(word, known); name != "" {
		return fmt.Sprintf(" (did you mean %q?)", name)
	}
	return ""
}

// Validate says what cannot be played.
func (s Source) Validate() error {
	if (s.Tape == nil) == (s.Sim == nil) {
		return errors.New("source: exactly one of tape and sim is needed")
	}
	if s.Sim != nil {
		if err := s.Sim.Validate(); err != nil {
			return fmt.Errorf("source sim: %w", err)
		}
		return nil
	}
	t := s.Tape
	switch {
	case t.File == "":
		return errors.New("source tape: the file is missing")
	case t.Loop && t.File == tape.Stdin:
		return errors.New("source tape: standard input cannot be read again, so it cannot loop: want a file, or no loop")
	case t.Offset < 0:
		return fmt.Errorf("source tape: offset is %s: want 0 or more", t.Offset)
	case t.Speed != 0 && t.Speed != MaxSpeed && (t.Speed < leastSpeed || t.Speed > mostSpeed):
		return fmt.Errorf("source tape: speed is %s: want %s to %s, or max", t.Speed, leastSpeed, mostSpeed)
	}
	return nil
}

// Name gives the source's kind, "sim" or "tape": its name on the bus.
func (s Source) Name() string {
	if s.Sim != nil {
		return "sim"
	}
	return "tape"
}

// String gives what ParseSource reads, without options that have their defaults.
func (s Source) String() string {
	var options []string
	add := func(set bool, key, value string) {
		if set {
			options = append(options, key+"="+value)
		}
	}
	text := s.Name()
	switch {
	case s.Sim != nil:
		add(s.Sim.Seed != 0, keySeed, strconv.FormatUint(s.Sim.Seed, 10))
		add(s.Sim.Symbols != 0, keySymbols, strconv.Itoa(s.Sim.Symbols))
		add(s.Sim.Rate != 0, keyRate, strconv.Itoa(s.Sim.Rate))
		add(s.Sim.Halts != 0, keyHalts, strconv.Itoa(s.Sim.HaltsAnHour()))
	case s.Tape != nil:
		text += ":" + s.Tape.File
		add(s.Tape.Speed != 0, keySpeed, s.Tape.Speed.String())
		add(s.Tape.Loop, keyLoop, "true")
		add(s.Tape.Offset != 0, keyOffset, s.Tape.Offset.String())
		add(s.Tape.SkipBad, keySkipBad, "true")
	}
	if len(options) > 0 {
		text += "?" + strings.Join(options, "&")
	}
	return text
}
