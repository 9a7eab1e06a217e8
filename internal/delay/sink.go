package delay

import (
	"context"

	"github.com/lzstock/lzstock/market"
)

// Sink takes what comes from upstream: a hub, or a Line in front of one. All
// calls come from one goroutine.
type Sink interface {
	// Publish brings live events, which nobody changes any more: ascending by
	// Seq, those of equal Seq in one call, none at or before the last call's end.
	Publish(ctx context.Context, events []market.Event) error
	// Replace brings the current values of topics, which are carried from now on
	// and may hold "*". A topic without an event has no value yet.
	Replace(ctx context.Context, topics []market.Topic, events []market.Event) error
	// Forget says that topics are not carried any more.
	Forget(ctx context.Context, topics []market.Topic) error
	// Gap says that events of its topics were lost; Replace follows for each.
	Gap(ctx context.Context, gap market.Gap) error
	// Feed tells the state of the feed.
	Feed(ctx context.Context, feed market.Feed) error
}

// Fan gives a sink that passes everything to each of sinks, in their order. All
// get the same slices, which none of them may change. The first error ends a
// call: the sinks behind it do not get what it brought.
func Fan(sinks ...Sink) Sink {
	if len(sinks) == 1 {
		return sinks[0]
	}
	return fan(sinks)
}

type fan []Sink

func (f fan) each(pass func(Sink) error) error {
	for _, s := range f {
		if err := pass(s); err != nil {
			return err
		}
	}
	return nil
}

func (f fan) Publish(ctx context.Context, events []market.Event) error {
	for _, s := range f { // not each: a closure would cost an allocation a batch
		if err := s.Publish(ctx, events); err != nil {
			return err
		}
	}
	return nil
}

func (f fan) Replace(ctx context.Context, topics []market.Topic, events []market.Event) error {
	return f.each(func(s Sink) error { return s.Replace(ctx, topics, events) })
}

func (f fan) Forget(ctx context.Context, topics []market.Topic) error {
	return f.each(func(s Sink) error { return s.Forget(ctx, topics) })
}

func (f fan) Gap(ctx context.Context, gap market.Gap) error {
	return f.each(func(s Sink) error { return s.Gap(ctx, gap) })
}

func (f fan) Feed(ctx context.Context, feed market.Feed) error {
	return f.each(func(s Sink) error { return s.Feed(ctx, feed) })
}
