package fold

import "testing"

func TestAt(t *testing.T) {
	for _, c := range []struct {
		text, want string
		how        How
	}{
		{"é", "e", Accent}, {"ｋ", "k", Compat}, {"ﬁ", "fi", Compat}, {"а", "a", Looks}, {"\u200b", "", Gone}, {"\u0301", "", Gone},
		{"\U000e0041", "A", Hidden}, {"\ufe0f", "", Gone}, {"\ufe0f\ufe01", "\x0f\x01", Hidden}, {"\u3000", " ", Stays},
	} {
		got, n, how := At([]byte(c.text + "z"))
		s := got.S
		if s == "" && got.R >= 0 {
			s = string(got.R)
		}
		if s != c.want || n != len(c.text) || how != c.how {
			t.Errorf("%q becomes %q in %d bytes, %d", c.text, s, n, how)
		}
	}
	for _, s := range []string{"\xff", "界", "ж", "\xc3", "\xc3\x97"} {
		if got, n, how := At([]byte(s)); n != 0 || how != Stays {
			t.Errorf("%q becomes %v", s, got)
		}
	}
}

func TestToASCII(t *testing.T) {
	for r, want := range map[rune]bool{'é': false, 'ｋ': true, 'а': true, 0x200b: true, 0x301: false, '界': false, 0xd800: true} {
		if ToASCII(r) != want {
			t.Errorf("%U: %v", r, !want)
		}
	}
}
