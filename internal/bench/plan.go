package bench

import (
	"fmt"
	"strings"
	"time"
)

// stage leads from the number of clients before to another one.
type stage struct {
	name     string
	take     time.Duration
	to       int
	measured bool
	wait     bool // before it begins, all clients must be open, for a while at most
}

// profile is a known course of load, for so many clients at its first plateau.
type profile struct {
	clients int
	stages  func(n int) []stage
}

func profileOf(name string) (profile, error) {
	switch name {
	case "smoke":
		return profile{50, func(n int) []stage {
			return []stage{
				{name: "ramp", take: 5 * time.Second, to: n},
				{name: "hold", take: 20 * time.Second, to: n, measured: true},
				{name: "leave", take: 5 * time.Second},
			}
		}}, nil
	case "spike":
		return profile{1000, func(n int) []stage {
			return []stage{
				{name: "ramp", take: 3 * time.Minute, to: n},
				{name: "hold", take: time.Minute, to: n, measured: true},
				{name: "spike", take: 30 * time.Second, to: n + n/2, measured: true},
				{name: "hold", take: time.Minute, to: n + n/2, measured: true},
				{name: "leave", take: 10 * time.Second},
			}
		}}, nil
	case "capacity":
		return profile{5000, func(n int) []stage {
			return []stage{
				{name: "ramp", take: 3 * time.Minute, to: n},
				{name: "hold", take: time.Minute, to: n, measured: true},
				{name: "leave", take: 10 * time.Second},
			}
		}}, nil
	}
	return profile{}, fmt.Errorf("there is no profile %q; want %s", name, strings.Join(Profiles(), ", "))
}

// Profiles lists the names of the profiles.
func Profiles() []string { return []string{"smoke", "spike", "capacity"} }

// plan gives the stages of a run.
func (c *Config) plan() ([]stage, error) {
	if c.Profile == "" {
		return []stage{
			{name: "ramp", take: c.Ramp, to: c.Clients},
			{name: "hold", take: c.Duration, to: c.Clients, measured: true, wait: true},
		}, nil
	}
	p, err := profileOf(c.Profile)
	if err != nil {
		return nil, err
	}
	stages := p.stages(c.Clients)
	if c.Vanish {
		stages = stages[:len(stages)-1] // who leaves cannot vanish
	}
	if c.Duration > 0 {
		var total time.Duration
		for _, s := range stages {
			total += s.take
		}
		for i := range stages {
			stages[i].take = time.Duration(float64(stages[i].take) * float64(c.Duration) / float64(total))
		}
	}
	return stages, nil
}

// greatest is how many clients there are at most.
func greatest(stages []stage) (n int) {
	for _, s := range stages {
		n = max(n, s.to)
	}
	return n
}

// at gives how many clients there should be, so long into the stage.
func (s *stage) at(from int, since time.Duration) int {
	if since >= s.take {
		return s.to
	}
	return from + int(float64(s.to-from)*float64(since)/float64(s.take))
}
