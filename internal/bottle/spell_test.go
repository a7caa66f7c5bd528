package bottle

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// spell writes a number in one of the ways of inet_aton.
func spell(t *rapid.T, n uint32) string {
	form := rapid.SampledFrom([]string{"%d", "0%o", "0x%x", "0X%X"}).Draw(t, "form")
	s := fmt.Sprintf(form, n)
	if zeros := rapid.IntRange(0, 4).Draw(t, "zeros"); form != "%d" {
		cut := 1
		if form != "0%o" {
			cut = 2
		}
		s = s[:cut] + strings.Repeat("0", zeros) + s[cut:]
	}
	return s
}
