package own

import "strings"

// card gives the length of the payment card number that begins at p and ends before
// hi, with the separators in it; or 0. A number is one group, or is parted as on cards:
// 4-4-4-4, 4-4-4-4-3, 4-6-5, 4-6-4, all by the same separator.
func card(text []byte, p, hi int) int {
	n := digitsAt(text, p, hi)
	if n >= 14 && n <= 16 { // 19 digits in one group are mostly a number of 64 bits
		if p+n < len(text) && (joins(text[p+n]) && !fullStop(text, p+n) || text[p+n] == '-') || p > 0 && text[p-1] == '-' {
			return 0
		}
		if cardNumber(text[p:p+n]) && distinct(text[p:p+n]) >= 6 {
			return n
		}
		return 0
	}
	if n != 4 || p+4 >= hi {
		return 0
	}
	sep := text[p+4]
	if sep != ' ' && sep != '-' || p >= 2 && text[p-1] == sep && '0' <= text[p-2] && text[p-2] <= '9' {
		return 0 // no separator, or the group before belongs to it, too
	}
	for _, parts := range [...][5]int{{4, 4, 4, 4}, {4, 4, 4, 4, 3}, {4, 6, 5}, {4, 6, 4}} {
		if n := parted(text, p, hi, sep, parts); n > 0 {
			return n
		}
	}
	return 0
}

// fullStop tells whether the byte at i is the end of a sentence and no decimal point.
func fullStop(text []byte, i int) bool {
	return text[i] == '.' && (i+1 == len(text) || !alphanumeric(text[i+1]))
}

func digitsAt(text []byte, p, hi int) (n int) {
	for p+n < hi && '0' <= text[p+n] && text[p+n] <= '9' {
		n++
	}
	return n
}

// parted is card for one way to part a number.
func parted(text []byte, p, hi int, sep byte, parts [5]int) int {
	var number [19]byte
	n, at := 0, p
	for i, size := range parts {
		if size == 0 {
			break
		}
		if i > 0 {
			if at >= hi || text[at] != sep {
				return 0
			}
			at++
		}
		if digitsAt(text, at, hi) != size {
			return 0
		}
		n += copy(number[n:], text[at:at+size])
		at += size
	}
	if at < len(text) && (joins(text[at]) && !fullStop(text, at) || text[at] == sep && digitsAt(text, at+1, hi) >= 4) {
		return 0 // a longer series
	}
	if !cardNumber(number[:n]) || alike(number[:n]) {
		return 0
	}
	return at - p
}

// alike tells whether three of the first four groups of four begin with the same two
// digits, as in tables of code points. It is so for one card in 2,500.
func alike(number []byte) bool {
	if len(number) < 16 {
		return false
	}
	same := 0
	for i := range 4 {
		for j := range i {
			if number[4*i] == number[4*j] && number[4*i+1] == number[4*j+1] {
				same++
			}
		}
	}
	return same >= 3
}

// cardNumber judges digits alone: a prefix that some network issues, with the right
// length for it (ISO/IEC 7812), the check digit, and no number that manuals show.
func cardNumber(digits []byte) bool {
	return issued(digits) && luhn(digits) && !shown(string(digits))
}

// luhn is the check digit of ISO/IEC 7812-1, annex B.
func luhn(digits []byte) bool {
	sum := 0
	for i, c := range digits {
		d := int(c - '0')
		if (len(digits)-i)%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// issued tells whether a network issues numbers with this prefix and length. Visa of
// 13 digits has not been issued for decades, and of 19 is hardly seen; Maestro's short
// numbers are not told from others.
func issued(d []byte) bool {
	p := 0
	for _, c := range d[:4] {
		p = p*10 + int(c-'0')
	}
	switch n := len(d); {
	case p/1000 == 4:
		return n == 16 // Visa
	case p/100 >= 51 && p/100 <= 55, p >= 2221 && p <= 2720:
		return n == 16 // Mastercard
	case p/100 == 34, p/100 == 37:
		return n == 15 // American Express
	case p/10 >= 300 && p/10 <= 305, p/100 == 36, p/100 == 38, p/100 == 39:
		return n == 14 // Diners Club
	case p == 6011, p/10 >= 644 && p/10 <= 649, p/100 == 65:
		return n == 16 // Discover
	case p >= 3528 && p <= 3589:
		return n == 16 // JCB
	case p/100 == 62:
		return n == 16 || n == 19 // UnionPay
	case p >= 2200 && p <= 2204:
		return n == 16 // Mir
	case p == 5018, p == 5020, p == 5038, p == 5893, p == 6304, p == 6759, p >= 6761 && p <= 6763:
		return n == 16 || n == 19 // Maestro
	}
	return false
}

// shown tells whether a number is one that manuals show: few different digits, one
// digit many times in a row, or one of the networks' and payment services' own. Or a
// power of two, as it stands in programs.
func shown(number string) bool {
	run, longest := 0, 0
	for i := 1; i < len(number); i++ {
		if number[i] == number[i-1] {
			run++
		} else {
			run = 0
		}
		longest = max(longest, run)
	}
	return distinct([]byte(number)) < 4 || longest >= 5 || strings.Contains(testNumbers, " "+number+" ") || strings.Contains(number, "12345678") ||
		strings.HasPrefix(number, "22517998136852") || strings.HasPrefix(number, "45035996273704")
}

// distinct counts the different digits. Of 15 that are drawn, fewer than six come up
// once in 150 times; in codes of other kinds, most often.
func distinct(digits []byte) (n int) {
	seen := 0
	for _, c := range digits {
		seen |= 1 << (c - '0')
	}
	for ; seen > 0; seen &= seen - 1 {
		n++
	}
	return n
}

// testNumbers are from the documents of the networks and of Adyen, Braintree, PayPal
// and Stripe.
const testNumbers = " 4012888888881881 4917610000000000 4222222222222220 5105105105105100 5200828282828210 5555555555554444 2223003122003222 2222405343248877 " +
	"5431111111111111 5454545454545454 378282246310005 371449635398431 378734493671000 370000000000002 6011000990139424 6011000400000000 6011981111111113 " +
	"30569309025904 38520000023237 36148900647913 36227206271667 3530111333300000 3566002020360505 3566111111111113 6205500000000000004 6304000000000000 6771798021000008 " +
	"4000056655665556 4000002500003155 4000002760003184 5200000000000007 5200000000000015 4484070000000000 4009348888881881 4005519200000004 4500600000000061 4988438843884305 4166676667666746 4646464646464644 " +
	"5555341244441115 2720992593319364 5436031030606378 6243030000000001 371144371144376 374251018720955 374101000000608 378282246310005 3600666633334444 36006666333344 "
