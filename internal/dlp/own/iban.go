package own

import "strings"

// ibanAt gives the length of the IBAN (ISO 13616) that begins at p and ends before hi,
// with single spaces after every four characters, or none; or 0. Upper case only, as
// IBANs are written.
func (s *scanner) ibanAt(text []byte, p, hi int) int {
	if hi-p < 15 || text[p+1] < 'A' || text[p+2] > '9' || text[p+3] > '9' {
		return 0
	}
	format := s.ibans[int(text[p]-'A')*26+int(text[p+1]-'A')]
	if format == "" {
		return 0
	}
	size := int(format[0]-'0')*10 + int(format[1]-'0')
	var account [34]byte
	at := p
	for n := range size {
		if n > 0 && n%4 == 0 && at < hi && text[at] == ' ' {
			at++
		}
		if at >= hi || text[at] < '0' { // a separator
			return 0
		}
		account[n] = text[at]
		at++
	}
	if at < len(text) && joins(text[at]) && !fullStop(text, at) || !shaped(account[4:size], format[2:]) || mod97(account[:size]) != 1 {
		return 0
	}
	return at - p
}

// ibanFormats gives, by country, the length and the structure of its IBANs: n for
// digits, a for letters, c for both, each with a count.
func ibanFormats() (formats [26 * 26]string) {
	for _, f := range strings.Fields(ibanCountries) {
		formats[int(f[0]-'A')*26+int(f[1]-'A')] = f[2:]
	}
	return formats
}

// shaped tells whether an account has the structure.
func shaped(account []byte, structure string) bool {
	at := 0
	for i := 0; i < len(structure); {
		kind, count := structure[i], 0
		for i++; i < len(structure) && structure[i] <= '9'; i++ {
			count = count*10 + int(structure[i]-'0')
		}
		for ; count > 0; count-- {
			if at >= len(account) || kind == 'n' && account[at] > '9' || kind == 'a' && account[at] <= '9' {
				return false
			}
			at++
		}
	}
	return at == len(account)
}

// mod97 is the remainder of ISO/IEC 7064, MOD 97-10, the first four characters last.
func mod97(account []byte) int {
	sum := 0
	for i := range account {
		c := account[(i+4)%len(account)]
		if c <= '9' {
			sum = (sum*10 + int(c-'0')) % 97
		} else {
			sum = (sum*100 + int(c-'A') + 10) % 97
		}
	}
	return sum
}

// ibanCountries is from the IBAN registry of SWIFT: country, length, structure of what
// follows the check digits.
const ibanCountries = " AD24n8c12 AE23n19 AL28n8c16 AT20n16 AZ28a4c20 BA20n16 BE16n12 BG22a4n6c8 BH22a4c14 BI27n23 BR29n23a1c1 BY28c4n4c16 CH21n5c12 CR22n18 CY28n8c16 CZ24n20 " +
	"DE22n18 DJ27n23 DK18n14 DO28c4n20 EE20n16 EG29n25 ES24n20 FI18n14 FK18a2n12 FO18n14 FR27n10c11n2 GB22a4n14 GE22a2n16 GI23a4c15 GL18n14 GR27n7c16 GT28c24 HN28a4n20 HR21n17 HU28n24 " +
	"IE22a4n14 IL23n19 IQ23a4n15 IS26n22 IT27a1n10c12 JO30a4n4c18 KW30a4c22 KZ20n3c13 LB28n4c20 LC32a4c24 LI21n5c12 LT20n16 LU20n3c13 LV21a4c13 LY25n21 " +
	"MC27n10c11n2 MD24c20 ME22n18 MK19n3c10n2 MN20n16 MR27n23 MT31a4n5c18 MU30a4n19a3 NI28a4n20 NL18a4n10 NO15n11 OM23n3c16 PK24a4c16 PL28n24 PS29a4c21 PT25n21 QA29a4c21 " +
	"RO24a4c16 RS22n18 RU33n14c15 SA24n2c18 SC31a4n20a3 SD18n14 SE24n20 SI19n15 SK24n20 SM27a1n10c12 SO23n19 ST25n21 SV28a4n20 TL23n19 TN24n20 TR26n6c16 UA29n6c19 VA22n18 VG24a4n16 XK20n16 YE30a4n4c18 "
