package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/lzstock/lzstock/internal/safetext"
	"github.com/lzstock/lzstock/internal/session"
)

// ErrNoBucket says that nobody keeps sessions on this bus.
var ErrNoBucket = errors.New("the bus has no bucket of sessions")

const (
	// kvMaxBytes bounds a bucket; where it is full, writes fail.
	kvMaxBytes = 256 << 20
	// expiryKept is how long the server keeps the mark of a key that expired. It
	// is for those who watch, and they see it at once.
	expiryKept = 10 * time.Second
	// The words of NATS's key-value buckets. The bucket is one of these, so that
	// the nats tool can look into it.
	kvOperation   = "KV-Operation"
	kvPurge       = "PURGE"
	kvDelete      = "DEL"
	kvStream      = "KV_"
	kvSubject     = "$KV."
	kvDescription = "LZStock client sessions"
)

// KV is a key-value bucket over JetStream in which each key expires by itself:
// a session.KV. It has a connection of its own. Where the bus is lost, calls fail
// with ErrLost, at once or when their context ends, and watches end with it.
type KV struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	stream jetstream.StreamConfig
	// replicas is what an existing bucket should have; 0 leaves it as it is.
	replicas int
	logger   *slog.Logger
	ended    chan struct{} // closed when nats.go has ended
	once     sync.Once

	mu     sync.Mutex
	handle jetstream.Stream // of the bucket
}

// DialKV connects and makes sure that the bucket of sessions exists beside the
// stream that the configuration names, with that stream's storage and replicas.
// Close must be called. ctx bounds the dialling alone.
func DialKV(ctx context.Context, cfg Config) (*KV, error) { return dialKV(ctx, cfg, true) }

// OpenKV connects to a bucket that gateways keep, or fails with ErrNoBucket: it
// is for tools, and creates nothing. Close must be called.
func OpenKV(ctx context.Context, cfg Config) (*KV, error) { return dialKV(ctx, cfg, false) }

func dialKV(ctx context.Context, cfg Config, create bool) (*KV, error) {
	if err := cfg.Stream.validate(); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	opts, err := cfg.options()
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	k := &KV{stream: cfg.Stream.sessions(), replicas: cfg.Stream.Replicas, logger: orDiscard(cfg.Logger), ended: make(chan struct{})}
	opts = append(opts,
		nats.ClosedHandler(func(*nats.Conn) { close(k.ended) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			k.logger.Warn("nats client", slog.Any("error", err))
		}),
	)
	if k.nc, err = nats.Connect(cfg.URL, opts...); err != nil {
		return nil, fmt.Errorf("bus: connect to %s: %w", cfg.where(), safetext.Error(unreachable(err)))
	}
	if k.js, err = jetstream.New(k.nc); err == nil {
		if create {
			err = k.ensure(ctx)
		} else {
			_, err = k.open(ctx)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bus: %s: %w", cfg.where(), err), k.Close())
	}
	return k, nil
}

// sessions gives the settings of the bucket. Only the leader is read from, so
// that a session is found on any gateway once it was created on one.
func (c *StreamConfig) sessions() jetstream.StreamConfig {
	feed := c.fresh()
	bucket := c.Name + "_sessions"
	return jetstream.StreamConfig{
		Name: kvStream + bucket, Description: kvDescription, Subjects: []string{kvSubject + bucket + ".>"},
		MaxMsgsPerSubject: 1, MaxBytes: kvMaxBytes, MaxMsgs: -1, MaxConsumers: -1, MaxMsgSize: -1,
		Storage: feed.Storage, Replicas: feed.Replicas, Discard: jetstream.DiscardNew,
		AllowRollup: true, DenyDelete: true, Duplicates: DedupWindow,
		AllowMsgTTL: true, SubjectDeleteMarkerTTL: expiryKept,
	}
}

// ensure makes sure that the bucket exists.
func (k *KV) ensure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*callTimeout)
	defer cancel()
	s, err := openStream(ctx, k.js, k.stream)
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", k.stream.Name, err)
	}
	has := s.CachedInfo().Config
	if !has.AllowMsgTTL || has.SubjectDeleteMarkerTTL == 0 || has.MaxMsgsPerSubject != 1 {
		return fmt.Errorf("bucket %s exists, but its keys do not expire one by one: it is not of LZStock, remove it", k.stream.Name)
	}
	s, changed, err := amend(ctx, k.js, s, k.replicas)
	if err != nil {
		return fmt.Errorf("update the settings of bucket %s: %w", k.stream.Name, err)
	}
	if changed {
		k.logger.Info("bucket settings updated", slog.String("bucket", k.stream.Name), slog.Int("replicas", s.CachedInfo().Config.Replicas))
	}
	k.hold(s)
	return nil
}

// open asks for the bucket as it is now.
func (k *KV) open(ctx context.Context) (jetstream.Stream, error) {
	s, err := k.js.Stream(ctx, k.stream.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, fmt.Errorf("%w: there is no stream %s", ErrNoBucket, k.stream.Name)
	case err != nil:
		return nil, k.failure(ctx, err)
	}
	k.hold(s)
	return s, nil
}

func (k *KV) hold(s jetstream.Stream) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.handle = s
}

// Close ends all that uses the bucket.
func (k *KV) Close() error {
	k.once.Do(func() {
		k.nc.Close()
		<-k.ended
	})
	return nil
}

// Create implements session.KV.
func (k *KV) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (uint64, error) {
	rev, err := k.put(ctx, key, value, ttl, 0)
	for range 3 { // what is left of a key that was there before
		if !errors.Is(err, session.ErrConflict) {
			break
		}
		last, e := k.last(ctx, key)
		if e != nil && !errors.Is(e, session.ErrNoKey) {
			return 0, fmt.Errorf("create %s: %w", key, e)
		}
		if e == nil && last.Op == session.OpPut {
			return 0, session.ErrExists
		}
		rev, err = k.put(ctx, key, value, ttl, last.Rev)
	}
	if err != nil {
		return 0, fmt.Errorf("create %s: %w", key, err)
	}
	return rev, nil
}

// Update implements session.KV.
func (k *KV) Update(ctx context.Context, key string, value []byte, ttl time.Duration, rev uint64) (uint64, error) {
	next, err := k.put(ctx, key, value, ttl, rev)
	if err != nil {
		return 0, fmt.Errorf("update %s: %w", key, err)
	}
	return next, nil
}

// Get implements session.KV.
func (k *KV) Get(ctx context.Context, key string) (session.Entry, error) {
	e, err := k.last(ctx, key)
	if err == nil && e.Op != session.OpPut {
		err = session.ErrNoKey
	}
	if err != nil {
		return session.Entry{}, fmt.Errorf("get %s: %w", key, err)
	}
	return e, nil
}

// Delete implements session.KV.
func (k *KV) Delete(ctx context.Context, key string, rev uint64) error {
	for range 3 {
		at := rev
		if rev == 0 {
			last, err := k.last(ctx, key)
			if errors.Is(err, session.ErrNoKey) || (err == nil && last.Op != session.OpPut) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("delete %s: %w", key, err)
			}
			at = last.Rev
		}
		msg := k.message(key, nil, session.DeleteKept, at)
		msg.Header.Set(kvOperation, kvPurge)
		msg.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
		_, err := k.publish(ctx, msg)
		if errors.Is(err, session.ErrConflict) && rev == 0 {
			continue
		}
		if err != nil {
			return fmt.Errorf("delete %s: %w", key, err)
		}
		return nil
	}
	return fmt.Errorf("delete %s: %w: it changes all the time", key, session.ErrConflict)
}

// message makes one change of a key whose last revision is rev. The server
// counts the time to live in whole seconds.
func (k *KV) message(key string, value []byte, ttl time.Duration, rev uint64) *nats.Msg {
	m := &nats.Msg{Subject: k.subject(key), Header: nats.Header{}, Data: value}
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(rev, 10))
	m.Header.Set(jetstream.MsgTTLHeader, strconv.FormatInt(int64((ttl+time.Second-1)/time.Second), 10))
	return m
}

func (k *KV) subject(key string) string { return k.prefix() + key }

func (k *KV) prefix() string { return strings.TrimSuffix(k.stream.Subjects[0], ">") }

func (k *KV) put(ctx context.Context, key string, value []byte, ttl time.Duration, rev uint64) (uint64, error) {
	return k.publish(ctx, k.message(key, value, ttl, rev))
}

func (k *KV) publish(ctx context.Context, m *nats.Msg) (uint64, error) {
	ack, err := k.js.PublishMsg(ctx, m, jetstream.WithExpectStream(k.stream.Name))
	if err == nil {
		return ack.Sequence, nil
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	switch {
	case ok && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return 0, session.ErrConflict
	case ok && api.ErrorCode == codeStoreFailed: // the stream's limit of bytes
		return 0, fmt.Errorf("%w: bucket %s: %w", session.ErrFull, k.stream.Name, err)
	}
	return 0, k.failure(ctx, err)
}

// last gives the last change of a key, or session.ErrNoKey.
func (k *KV) last(ctx context.Context, key string) (session.Entry, error) {
	k.mu.Lock()
	s := k.handle
	k.mu.Unlock()
	raw, err := s.GetLastMsgForSubject(ctx, k.subject(key))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return session.Entry{}, session.ErrNoKey
	case err != nil:
		return session.Entry{}, k.failure(ctx, err)
	}
	return session.Entry{Op: opOf(raw.Header), Key: key, Value: raw.Data, Rev: raw.Sequence}, nil
}

// opOf says what a message of the bucket does to its key.
func opOf(h nats.Header) session.Op {
	switch h.Get(kvOperation) {
	case kvPurge, kvDelete:
		return session.OpDelete
	}
	if h.Get(jetstream.MarkerReasonHeader) != "" {
		return session.OpExpire
	}
	return session.OpPut
}

// failure gives an error of ours for what a call to NATS returned under ctx.
func (k *KV) failure(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil && !errors.Is(why, context.DeadlineExceeded) {
		return why
	}
	if k.nc.IsClosed() {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

var _ session.KV = (*KV)(nil)
