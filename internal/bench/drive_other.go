//go:build !linux

package bench

import "context"

// spreads tells whether connections may come from any address of 127.0.0.0/8:
// other systems have 127.0.0.1 alone.
const spreads = false

// drive drives a share of the clients until they have left.
func drive(ctx context.Context, f *fleet, index, of int) error { return driveCrew(ctx, f, index, of) }
