package sim

import (
	"time"

	"github.com/lzstock/lzstock/market"
)

// What the simulated venue says of a halt, in the words of a pause for limit up,
// limit down. A status names no venue, so the reason says that it is simulated.
const (
	haltCode, haltText     = "H", "Trading Halt"
	resumeCode, resumeText = "T", "Trading Resumption"
	pauseCode, pauseText   = "LUDP", "Volatility Trading Pause; simulated"
)

// halts lets one instrument halt now and then, and those halted long enough
// resume. At most a tenth of the list, at least one, is halted at once.
func (s *Sim) halts() {
	for i := 0; i < len(s.halted); {
		in := s.halted[i]
		if s.now < in.haltedUntil {
			i++
			continue
		}
		in.haltedUntil, in.quoted = 0, false
		s.tell(in, resumeCode, resumeText)
		s.halted = append(s.halted[:i], s.halted[i+1:]...)
	}
	if s.haltEvery == 0 || s.now < s.nextHalt {
		return
	}
	s.nextHalt = s.now + s.rnd.between(s.haltEvery/3, s.haltEvery*5/3)
	in := s.list[s.rnd.below(int64(len(s.list)))]
	if in.steady || in.haltedUntil != 0 || len(s.list) == 1 || len(s.halted) >= max(1, len(s.list)/10) {
		return
	}
	in.haltedUntil = s.now + s.rnd.between(15*second, 75*second)
	s.halted = append(s.halted, in)
	s.tell(in, haltCode, haltText)
}

// tell says what has become of an instrument, ahead of the event in hand.
func (s *Sim) tell(in *instrument, code, text string) {
	s.told = append(s.told, market.Event{Channel: market.Statuses, Symbol: in.symbol, Status: &market.Status{
		Code: code, Message: text, ReasonCode: pauseCode, ReasonMessage: pauseText,
		Time: s.start.Add(time.Duration(s.now)), Tape: in.tape,
	}})
}
