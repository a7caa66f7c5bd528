package own

import (
	"bytes"
	"crypto/sha256"
	"math/bits"

	"bottle/internal/dlp/rule"
)

// wallets are keys to money and to identities of decentralised networks that say what
// they are. Those that do not, Scan finds.
func wallets() []rule.Rule {
	// The keys of the BIP-32 and NIP-19 documents: public, so they may stand here.
	xprv := "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"
	nsec := "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5"
	return []rule.Rule{
		{ID: "bip32-private-key", Description: "An extended private key (BIP-32): a whole wallet.", Keywords: []string{"xprv", "yprv", "zprv", "tprv", "uprv", "vprv"},
			Regexp: `(?:^|[^0-9A-Za-z])([xyztuv]prv[1-9A-HJ-NP-Za-km-z]{106,108})(?:$|[^0-9A-Za-z])`, Group: 1, Check: base58Check,
			Hits: []string{"key: " + xprv + "\n", xprv}, Misses: []string{xprv[:len(xprv)-1] + "j", xprv[:60], "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8"}},
		{ID: "nostr-private-key", Description: "A private key of Nostr (NIP-19).", Keywords: []string{"nsec1"},
			Regexp: `(?:^|[^0-9A-Za-z])(nsec1[qpzry9x8gf2tvdw0s3jn54khce6mua7l]{58})(?:$|[^0-9A-Za-z])`, Group: 1, Check: bech32,
			Hits: []string{"my key is " + nsec + "."}, Misses: []string{nsec[:len(nsec)-1] + "q", nsec[:50], "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg"}},
		{ID: "hex-private-key", Description: "A raw private key in hex, named as one.", Keywords: []string{"private_key", "privatekey", "private-key", "priv_key", "privkey", "seed_hex", "private key"},
			Regexp: `(?i)(?:private[_ -]?key|priv_?key|seed_hex)(?:[_-]?(?:hex|eth|evm|bytes))?["'\x60]?\s{0,4}(?:[:=]{1,2}|=>|:=)\s{0,4}["'\x60]?(?:0x)?([0-9a-f]{64})(?:$|[^0-9A-Za-z])`, Group: 1, Check: random(64, 3.2),
			Hits:   []string{"PRIVATE_KEY=0x" + sample(hexes, 64), `"privateKey": "` + sample(hexes, 64) + `"`},
			Misses: []string{"PRIVATE_KEY=0x" + sample(hexes, 40), "PRIVATE_KEY=0x" + zeros64, "PUBLIC_KEY=0x" + sample(hexes, 64)}},
	}
}

const zeros64 = "0000000000000000000000000000000000000000000000000000000000000001"

// base58Check tells whether a text is base58 with a valid checksum: the first four
// bytes of a double SHA-256. Texts of more than 128 characters are none.
func base58Check(text []byte) bool {
	var room [96]byte
	raw, ok := base58Decode(room[:], text)
	if !ok || len(raw) < 5 {
		return false
	}
	data, sum := raw[:len(raw)-4], raw[len(raw)-4:]
	once := sha256.Sum256(data)
	twice := sha256.Sum256(once[:])
	return bytes.Equal(twice[:4], sum)
}

// base58Decode writes the number into room, from its end, and gives the part that it
// took. A leading 1, a zero byte in base58, never begins a private key: it is refused.
func base58Decode(room, text []byte) ([]byte, bool) {
	if len(text) == 0 || len(text) > 128 || text[0] == '1' {
		return nil, false
	}
	clear(room)
	first := len(room)
	for _, c := range text {
		carry := base58Digit(c)
		if carry < 0 {
			return nil, false
		}
		i := len(room)
		for i > first || carry > 0 {
			i--
			if i < 0 {
				return nil, false
			}
			carry += 58 * int(room[i])
			room[i] = byte(carry)
			carry >>= 8
		}
		first = min(first, i)
	}
	return room[first:], true
}

// base58Digit is Bitcoin's: digits and letters without 0, O, I and l.
func base58Digit(c byte) int {
	switch {
	case '1' <= c && c <= '9':
		return int(c - '1')
	case 'A' <= c && c <= 'H':
		return int(c-'A') + 9
	case 'J' <= c && c <= 'N':
		return int(c-'J') + 17
	case 'P' <= c && c <= 'Z':
		return int(c-'P') + 22
	case 'a' <= c && c <= 'k':
		return int(c-'a') + 33
	case 'm' <= c && c <= 'z':
		return int(c-'m') + 44
	}
	return -1
}

// wif tells whether a text is a private key of Bitcoin or of its test network in wallet
// import format: version, 32 bytes, perhaps 01, checksum.
func wif(text []byte) bool {
	switch {
	case len(text) == 51 && (text[0] == '5' || text[0] == '9'):
	case len(text) == 52 && (text[0] == 'K' || text[0] == 'L' || text[0] == 'c'):
	default:
		return false
	}
	return base58Check(text)
}

// bech32 tells whether a text in lower case has a valid checksum of BIP-173.
func bech32(text []byte) bool {
	sep := bytes.LastIndexByte(text, '1')
	if sep < 1 || len(text)-sep < 7 || len(text) > 1023 {
		return false
	}
	const charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	sum := uint32(1)
	for _, c := range text[:sep] {
		sum = polymod(sum, c>>5)
	}
	sum = polymod(sum, 0)
	for _, c := range text[:sep] {
		sum = polymod(sum, c&31)
	}
	for _, c := range text[sep+1:] {
		v := bytes.IndexByte([]byte(charset), c)
		if v < 0 {
			return false
		}
		sum = polymod(sum, byte(v))
	}
	return sum == 1
}

// polymod is one step of the BCH code of BIP-173.
func polymod(sum uint32, v byte) uint32 {
	top := sum >> 25
	sum = (sum&0x1ffffff)<<5 ^ uint32(v)
	for i, g := range [...]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
		sum ^= g & -(top >> i & 1)
	}
	return sum
}

// stellar tells whether a text is a secret seed of Stellar (SEP-23): S, base32 of 32
// bytes, CRC-16/XMODEM in little endian.
func stellar(text []byte) bool {
	if len(text) != 56 || text[0] != 'S' {
		return false
	}
	var raw [35]byte
	for i, c := range text {
		var v byte
		switch {
		case 'A' <= c && c <= 'Z':
			v = c - 'A'
		case '2' <= c && c <= '7':
			v = c - '2' + 26
		default:
			return false
		}
		bit := i * 5
		wide := uint16(v) << (11 - bit%8)
		raw[bit/8] |= byte(wide >> 8)
		if bit/8+1 < len(raw) {
			raw[bit/8+1] |= byte(wide)
		}
	}
	if raw[0] != 18<<3 {
		return false
	}
	var crc uint16
	for _, c := range raw[:33] {
		crc ^= uint16(c) << 8
		for range 8 {
			crc = crc<<1 ^ 0x1021&-(crc>>15)
		}
	}
	return crc == bits.ReverseBytes16(uint16(raw[33])<<8|uint16(raw[34]))
}
