package bus

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
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
			var chunks jetstream.Stream
			if store, chunks, err = b.openBucket(ctx); err == nil {
				err = b.put(ctx, store, chunks, name, data)
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

// put stores an object as NATS's object stores do, which is how it is read. Their own
// Put leaves a goroutine behind where the connection is closed meanwhile: it waits
// on a channel that has been set to nil.
func (b *JetStream) put(ctx context.Context, store jetstream.ObjectStore, stream jetstream.Stream, name string, data []byte) error {
	const chunk = 128 << 10
	old, err := store.GetInfo(ctx, name, jetstream.GetObjectInfoShowDeleted())
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		old, err = nil, nil
	}
	if err != nil {
		return err
	}
	sum := sha256.New()
	sum.Write(data)
	info := jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunk}},
		Bucket:     b.bucket(), NUID: rand.Text(), Size: uint64(len(data)), Digest: jetstream.GetObjectDigestValue(sum),
	}
	subject := func(id string) string { return "$O." + b.bucket() + ".C." + id }
	meta := nats.NewMsg("$O." + b.bucket() + ".M." + base64.URLEncoding.EncodeToString([]byte(name)))
	meta.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	drop := func(id string) { _ = stream.Purge(ctx, jetstream.WithPurgeSubject(subject(id))) } // it takes room, no more
	for part := range slices.Chunk(data, chunk) {
		if _, err := b.js.Publish(ctx, subject(info.NUID), part); err != nil {
			drop(info.NUID)
			return err
		}
		info.Chunks++
	}
	if meta.Data, err = json.Marshal(info); err != nil {
		return err
	}
	if _, err = b.js.PublishMsg(ctx, meta); err != nil {
		return err // it may be stored all the same, and needs its chunks then
	}
	if old != nil && !old.Deleted {
		drop(old.NUID)
	}
	return nil
}

// openBucket gives the bucket, and makes it where it is missing, or gives it as
// many copies as are wanted. It is one of NATS's object stores, except that only
// its leader answers: a copy may be behind.
func (b *JetStream) openBucket(ctx context.Context) (jetstream.ObjectStore, jetstream.Stream, error) {
	feed := b.stream.fresh()
	s, err := openStream(ctx, b.js, jetstream.StreamConfig{
		Name: "OBJ_" + b.bucket(), Description: "LZStock checkpoints",
		Subjects: []string{"$O." + b.bucket() + ".C.>", "$O." + b.bucket() + ".M.>"},
		Storage:  feed.Storage, Replicas: feed.Replicas, Discard: jetstream.DiscardNew, AllowRollup: true,
		MaxBytes: -1, MaxMsgs: -1, MaxConsumers: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1,
	})
	if err != nil {
		return nil, nil, err
	}
	if s, _, err = amend(ctx, b.js, s, b.stream.Replicas); err != nil {
		return nil, nil, fmt.Errorf("update the settings of bucket %s: %w", b.bucket(), err)
	}
	store, err := b.js.ObjectStore(ctx, b.bucket())
	return store, s, err
}
