package bus

import (
	"bytes"
	"context"
	"fmt"
	"slices"
)

// AppendBars works as JetStream's.
func (m *Memory) AppendBars(ctx context.Context, after uint64, data []byte) (number uint64, stored bool, err error) {
	_, done, err := m.health.await(ctx)
	if err != nil {
		return 0, false, fmt.Errorf("append bars: %w", err)
	}
	defer done()
	m.mu.Lock()
	defer m.mu.Unlock()
	if uint64(len(m.bars)) != after {
		return 0, false, nil
	}
	m.bars = append(m.bars, bytes.Clone(data))
	return uint64(len(m.bars)), true, nil
}

// ReadBars works as JetStream's.
func (m *Memory) ReadBars(ctx context.Context, after uint64, f func(number uint64, data []byte) error) (last uint64, err error) {
	_, done, err := m.health.await(ctx)
	if err != nil {
		return 0, fmt.Errorf("read bars after %d: %w", after, err)
	}
	defer done()
	m.mu.Lock()
	records := slices.Clip(m.bars)
	m.mu.Unlock()
	for i := after; i < uint64(len(records)); i++ {
		if err := f(i+1, bytes.Clone(records[i])); err != nil {
			return 0, fmt.Errorf("read bars after %d: %w", after, err)
		}
	}
	return uint64(len(records)), nil
}
