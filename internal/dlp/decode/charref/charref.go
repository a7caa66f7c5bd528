// Package charref knows the character references of HTML whose names stand for ASCII, or
// for what nobody sees (HTML Standard, 13.5).
package charref

// Follows reports whether a character reference goes on so behind its &. It reads no
// more than 20 bytes.
func Follows(s []byte) bool {
	const longest = 20
	if len(s) > 0 && s[0] == '#' {
		return true
	}
	n := 0
	for n < len(s) && n < longest && (s[n]|0x20)-'a' < 26 {
		n++
	}
	return n > 1 && n < len(s) && s[n] == ';'
}

// Named gives what a name stands for, if that is ASCII or invisible: a character, -1 for
// what is invisible, 0 for all else; text stands for it where there are more. bare says
// that readers take it without a semicolon.
func Named(name []byte) (r rune, text string, bare bool) {
	switch string(name) {
	case "amp", "AMP":
		return '&', "", true
	case "lt", "LT":
		return '<', "", true
	case "gt", "GT":
		return '>', "", true
	case "quot", "QUOT":
		return '"', "", true
	case "nbsp":
		return ' ', "", true
	case "shy":
		return -1, "", true
	case "zwj", "zwnj", "lrm", "rlm", "ZeroWidthSpace", "NoBreak", "NegativeThinSpace", "NegativeMediumSpace",
		"NegativeThickSpace", "NegativeVeryThinSpace", "InvisibleTimes", "InvisibleComma", "ApplyFunction", "it", "ic", "af":
		return -1, "", false
	case "fjlig":
		return 'f', "fj", false
	}
	return punctuation(name), "", false
}

// names lists the names of characters of ASCII: a blank, the name, the character.
const names = " Tab\t NewLine\n excl! num# dollar$ percnt% apos' lpar( rpar) ast* midast* plus+ comma, hyphen- dash- period. sol/" +
	" colon: semi; equals= quest? commat@ lsqb[ lbrack[ bsol\\ rsqb] rbrack] Hat^ lowbar_ UnderBar_ grave` DiacriticalGrave`" +
	" lcub{ lbrace{ verbar| vert| VerticalLine| rcub} rbrace} "

// punctuation gives the character of ASCII that a name stands for, or 0.
func punctuation(name []byte) rune {
	for i := 0; i < len(names); {
		j := i + 1
		for (names[j]|0x20)-'a' < 26 {
			j++
		}
		if names[i+1:j] == string(name) {
			return rune(names[j])
		}
		i = j + 1
		if i == len(names)-1 {
			break
		}
	}
	return 0
}
