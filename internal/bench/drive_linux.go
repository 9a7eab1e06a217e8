package bench

import "context"

// drive drives a share of the clients until they have left.
func drive(ctx context.Context, f *fleet, index, of int) error {
	if f.tls != nil || f.cfg.Portable {
		return driveCrew(ctx, f, index, of)
	}
	return driveLoop(ctx, f, index, of)
}
