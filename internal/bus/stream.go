package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	subjectPrefix = "md."
	subjects      = subjectPrefix + "*"
)

// ensure makes sure that the stream exists as it is wanted.
func (b *JetStream) ensure(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*callTimeout)
	defer cancel()
	name := b.stream.Name
	s, err := openStream(ctx, b.js, b.stream.fresh())
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", name, err)
	}
	info := s.CachedInfo()
	wanted, changed, err := b.stream.merge(info.Config)
	if err != nil {
		return nil, fmt.Errorf("stream %s exists with other settings: %w", name, err)
	}
	if changed {
		if s, err = b.js.UpdateStream(ctx, wanted); err != nil {
			return nil, fmt.Errorf("update the settings of stream %s: %w", name, explain(err))
		}
		info = s.CachedInfo()
		b.logger.Info("stream settings updated", slog.String("stream", name), slog.Duration("max_age", wanted.MaxAge),
			slog.Int64("max_bytes", wanted.MaxBytes), slog.Int("replicas", wanted.Replicas))
	}
	return info, nil
}

// openStream gives a stream, and makes it where it is missing.
func openStream(ctx context.Context, js jetstream.JetStream, fresh jetstream.StreamConfig) (jetstream.Stream, error) {
	s, err := js.Stream(ctx, fresh.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = js.CreateStream(ctx, fresh)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was faster
			s, err = js.Stream(ctx, fresh.Name)
		}
	}
	return s, explain(err)
}

// amend has only a stream's leader answer, and gives it as many copies as are wanted,
// 0 for those that it has. It reports whether that has changed anything.
func amend(ctx context.Context, js jetstream.JetStream, s jetstream.Stream, copies int) (_ jetstream.Stream, changed bool, err error) {
	has := s.CachedInfo().Config
	wanted := has
	wanted.AllowDirect = false
	if copies > 0 {
		wanted.Replicas = copies
	}
	if wanted.AllowDirect == has.AllowDirect && wanted.Replicas == has.Replicas {
		return s, false, nil
	}
	s, err = js.UpdateStream(ctx, wanted)
	return s, true, explain(err)
}

// fresh gives the settings of a stream that does not exist yet. Only the leader
// answers for a single batch: a copy may be behind, and what it does not have yet
// would look as if it had never been stored.
func (c *StreamConfig) fresh() jetstream.StreamConfig {
	s := jetstream.StreamConfig{
		Name: c.Name, Description: "LZStock market data", Subjects: []string{subjects},
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, Storage: jetstream.FileStorage,
		MaxAge: c.MaxAge, MaxBytes: c.MaxBytes, Replicas: max(1, c.Replicas),
		MaxMsgs: -1, MaxConsumers: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1,
	}
	bytes := int64(DefaultMaxBytesFile)
	if c.Storage == StorageMemory {
		s.Storage, bytes = jetstream.MemoryStorage, DefaultMaxBytesMemory
	}
	if s.MaxAge == 0 {
		s.MaxAge = DefaultMaxAge
	}
	if s.MaxBytes == 0 {
		s.MaxBytes = bytes
	}
	s.Duplicates = dedup(s.MaxAge)
	return s
}

// merge gives the settings that an existing stream should have, and whether
// they differ from those that it has. Its error names what cannot be changed.
func (c *StreamConfig) merge(has jetstream.StreamConfig) (wanted jetstream.StreamConfig, changed bool, err error) {
	wanted = has
	var wrong []error
	if !slices.Equal(has.Subjects, []string{subjects}) {
		wrong = append(wrong, fmt.Errorf("subjects are %q, want %q: it is not a stream of LZStock", has.Subjects, subjects))
	}
	if has.Retention != jetstream.LimitsPolicy {
		wrong = append(wrong, fmt.Errorf("retention is %s, want %s", has.Retention, jetstream.LimitsPolicy))
	}
	if storage := has.Storage; (c.Storage == StorageFile && storage != jetstream.FileStorage) ||
		(c.Storage == StorageMemory && storage != jetstream.MemoryStorage) {
		wrong = append(wrong, fmt.Errorf("storage is %s and cannot be changed: use it so, or remove the stream", storage))
	}
	if len(wrong) > 0 {
		return wanted, false, errors.Join(wrong...)
	}
	wanted.Discard, wanted.AllowDirect = jetstream.DiscardOld, false
	if c.MaxAge > 0 {
		wanted.MaxAge = c.MaxAge
	}
	if c.MaxBytes > 0 {
		wanted.MaxBytes = c.MaxBytes
	}
	if c.Replicas > 0 {
		wanted.Replicas = c.Replicas
	}
	wanted.Duplicates = dedup(wanted.MaxAge)
	changed = wanted.Discard != has.Discard || wanted.AllowDirect != has.AllowDirect || wanted.MaxAge != has.MaxAge || wanted.MaxBytes != has.MaxBytes ||
		wanted.Replicas != has.Replicas || wanted.Duplicates != has.Duplicates
	return wanted, changed, nil
}

// dedup gives the time for which ids are known: no longer than batches are held.
func dedup(maxAge time.Duration) time.Duration {
	if maxAge > 0 {
		return min(DedupWindow, maxAge)
	}
	return DedupWindow
}
