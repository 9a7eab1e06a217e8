package cli

import "testing"

func TestSizes(t *testing.T) {
	for text, want := range map[string]byteSize{"0": 0, "512": 512, "64KiB": 64 << 10, "2 GiB": 2 << 30, "8589934591GiB": (1<<33 - 1) << 30} {
		var b byteSize
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("size %q = %d, %v; want %d", text, b, err, want)
		}
		var again byteSize
		if err := again.UnmarshalText([]byte(b.String())); err != nil || again != b {
			t.Errorf("size %q is written %q, which is read %d, %v", text, b, again, err)
		}
	}
	for _, text := range []string{"", "-1", "1.5GiB", "8589934592GiB", "GiB", "3GB"} {
		if err := new(byteSize).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("size %q was taken", text)
		}
	}
}
