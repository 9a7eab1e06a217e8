package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// checkpointTries is how often a checkpoint is saved or loaded before that has
// failed.
const checkpointTries = 3

// bucket names the object store of checkpoints.
func (b *JetStream) bucket() string { return b.stream.Name + "_checkpoints" }

// SaveCheckpoint keeps data under a name, in place of what was kept before.
// Readers see the old or the new, never a mix.
func (b *JetStream) SaveCheckpoint(ctx context.Context, name string, data []byte) error {
	ctx, done, err := b.health.await(ctx)
	if err == nil {
		defer done()
		for range checkpointTries { // a bucket that was just made, or got more copies, may lose one
			var store jetstream.ObjectStore
			if store, err = b.openBucket(ctx); err == nil {
				_, err = store.PutBytes(ctx, name, data)
			}
			if err == nil {
				return nil
			}
			err = b.failure(ctx, err)
			if ctx.Err() != nil {
				break
			}
		}
	}
	return fmt.Errorf("save checkpoint %s: %w", name, err)
}

// LoadCheckpoint gives what was kept last under the name, or ErrNotFound.
func (b *JetStream) LoadCheckpoint(ctx context.Context, name string) ([]byte, error) {
	ctx, done, err := b.health.await(ctx)
	var data []byte
	if err == nil {
		defer done()
		data, err = b.load(ctx, name)
	}
	if err != nil {
		return nil, fmt.Errorf("load checkpoint %s: %w", name, err)
	}
	return data, nil
}

func (b *JetStream) load(ctx context.Context, name string) ([]byte, error) {
	var failed error
	for range checkpointTries { // one that is replaced while it is read fails
		store, err := b.js.ObjectStore(ctx, b.bucket())
		if err == nil {
			var data []byte
			if data, err = store.GetBytes(ctx, name); err == nil {
				return data, nil
			}
		}
		if errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrObjectNotFound) {
			return nil, ErrNotFound
		}
		failed = b.failure(ctx, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// openBucket gives the bucket, and makes it where it is missing, or gives it as
// many copies as are wanted. It is one of NATS's object stores, except that only
// its leader answers: a copy may be behind.
func (b *JetStream) openBucket(ctx context.Context) (jetstream.ObjectStore, error) {
	feed := b.stream.fresh()
	s, err := openStream(ctx, b.js, jetstream.StreamConfig{
		Name: "OBJ_" + b.bucket(), Description: "LZStock checkpoints",
		Subjects: []string{"$O." + b.bucket() + ".C.>", "$O." + b.bucket() + ".M.>"},
		Storage:  feed.Storage, Replicas: feed.Replicas, Discard: jetstream.DiscardNew, AllowRollup: true,
		MaxBytes: -1, MaxMsgs: -1, MaxConsumers: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1,
	})
	if err != nil {
		return nil, err
	}
	has := s.CachedInfo().Config
	wanted := has
	wanted.AllowDirect = false
	if b.stream.Replicas > 0 {
		wanted.Replicas = b.stream.Replicas
	}
	if wanted.AllowDirect != has.AllowDirect || wanted.Replicas != has.Replicas {
		if _, err := b.js.UpdateStream(ctx, wanted); err != nil {
			return nil, fmt.Errorf("update the settings of bucket %s: %w", b.bucket(), explain(err))
		}
	}
	return b.js.ObjectStore(ctx, b.bucket())
}
