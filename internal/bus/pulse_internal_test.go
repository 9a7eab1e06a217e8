package bus

import "testing"

// FuzzDecodePulse: what is taken is written again as it was.
func FuzzDecodePulse(f *testing.F) {
	f.Add("sim", []byte("A live"))
	f.Add("tape-1", []byte("B ended"))
	f.Add("x", []byte("C bus"))
	f.Add("", []byte(" "))
	f.Fuzz(func(t *testing.T, source string, data []byte) {
		p, err := decodePulse(source, data)
		if err != nil {
			return
		}
		if again, err := p.encode(); err != nil || string(again) != string(data) {
			t.Errorf("%q is %+v, and that %q, %v", data, p, again, err)
		}
	})
}
