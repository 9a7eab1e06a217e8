package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// bucket names the object store of checkpoints.
func (b *JetStream) bucket() string { return b.stream.Name + "_checkpoints" }

// SaveCheckpoint keeps data under a name, in place of what was kept before.
// Readers see the old or the new, never a mix.
func (b *JetStream) SaveCheckpoint(ctx context.Context, name string, data []byte) error {
	ctx, done, err := b.health.await(ctx)
	if err == nil {
		defer done()
		var store jetstream.ObjectStore
		if store, err = b.openBucket(ctx); err == nil {
			_, err = store.PutBytes(ctx, name, data)
		}
		if err != nil {
			err = b.failure(ctx, err)
		}
	}
	if err != nil {
		return fmt.Errorf("save checkpoint %s: %w", name, err)
	}
	return nil
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
	const tries = 3 // one that is replaced while it is read fails
	var failed error
	for range tries {
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

func (b *JetStream) openBucket(ctx context.Context) (jetstream.ObjectStore, error) {
	store, err := b.js.ObjectStore(ctx, b.bucket())
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		settings := b.stream.fresh()
		store, err = b.js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket: b.bucket(), Description: "LZStock checkpoints", Storage: settings.Storage, Replicas: settings.Replicas,
		})
		if errors.Is(err, jetstream.ErrBucketExists) { // another process was faster
			store, err = b.js.ObjectStore(ctx, b.bucket())
		}
	}
	if err != nil {
		return nil, err
	}
	changed, err := b.mendBucket(ctx)
	if err == nil && changed { // the handle remembers the settings
		store, err = b.js.ObjectStore(ctx, b.bucket())
	}
	return store, err
}

// mendBucket gives the bucket as many copies as are wanted, and has only the
// leader answer, since a copy may be behind.
func (b *JetStream) mendBucket(ctx context.Context) (changed bool, err error) {
	s, err := b.js.Stream(ctx, "OBJ_"+b.bucket())
	if err != nil {
		return false, err
	}
	has := s.CachedInfo().Config
	wanted := has
	wanted.AllowDirect = false
	if b.stream.Replicas > 0 {
		wanted.Replicas = b.stream.Replicas
	}
	if wanted.AllowDirect == has.AllowDirect && wanted.Replicas == has.Replicas {
		return false, nil
	}
	_, err = b.js.UpdateStream(ctx, wanted)
	return true, explain(err)
}
