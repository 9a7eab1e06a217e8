package client

import "time"

// WithRandom replaces the source of jitter: between 0 and limit.
func WithRandom(cfg *Config, f func(limit time.Duration) time.Duration) { cfg.random = f }
