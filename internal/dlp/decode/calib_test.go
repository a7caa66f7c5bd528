package decode

import (
	"encoding/binary"
	"testing"
)

func BenchmarkCalib(b *testing.B) {
	text := make([]byte, 1<<18)
	var sink uint64
	measure(b, len(text), func() {
		for i := 0; i+8 <= len(text); i += 13 {
			if digitTops(binary.LittleEndian.Uint64(text[i:])) == tops {
				sink++
			}
		}
	})
	_ = sink
}
