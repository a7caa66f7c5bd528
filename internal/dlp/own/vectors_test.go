package own

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"bottle/internal/dlp/rule"
)

func TestWordListIsTheStandards(t *testing.T) {
	if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(wordList))); sum != "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda" {
		t.Error("english.txt is not BIP-39's:", sum)
	}
	for i, w := range strings.Fields(wordList) {
		if got := scan().words.at([]byte(strings.ToUpper(w)), 0); got != i {
			t.Errorf("%s is word %d, not %d", w, i, got)
		}
	}
}

// The vectors of BIP-39 (Trezor's), whose entropy is not one byte again and again.
func TestSeedVectors(t *testing.T) {
	for _, phrase := range []string{
		"legal winner thank year wave sausage worth useful legal winner thank yellow",
		"letter advice cage absurd amount doctor acoustic avoid letter advice cage above",
		"scheme spot photo card baby mountain device kick cradle pact join borrow",
		"cat swing flag economy stadium alone churn speed unique patch report train",
		"gravity machine north sort system female filter attitude volume fold club stay feature office ecology stable narrow fog",
		"hamster diagram private dutch cause delay private meat slide toddler razor book happy fancy gospel tennis maple dilemma loan word shrug inflict delay length",
		"all hour make first leader extend hole alien behind guard gospel lava path output census museum junior mass reopen famous sing advance salt reform",
	} {
		if !has(Scan(nil, []byte("> "+phrase+"\n")), &scan().seed) {
			t.Error("does not find", phrase)
		}
	}
}

// Examples of the IBAN registry.
func TestIBANVectors(t *testing.T) {
	for _, n := range strings.Fields(`AD1200012030200359100100 AE070331234567890123456 AL47212110090000000235698741 AT611904300234573201 AZ21NABZ00000000137010001944
		BA391290079401028494 BE68539007547034 BG80BNBG96611020345678 BH67BMAG00001299123456 BR1800360305000010009795493C1 BY13NBRB3600900000002Z00AB00 CH9300762011623852957
		CR05015202001026284066 CY17002001280000001200527600 CZ6508000000192000145399 DE89370400440532013000 DK5000400440116243 DO28BAGR00000001212453611324 EE382200221020145685
		EG380019000500000000263180002 ES9121000418450200051332 FI2112345600000785 FO6264600001631634 FR1420041010050500013M02606 GB29NWBK60161331926819 GE29NB0000000101904917
		GI75NWBK000000007099453 GL8964710001000206 GR1601101250000000012300695 GT82TRAJ01020000001210029690 HR1210010051863000160 HU42117730161111101800000000 IE29AIBK93115212345678
		IL620108000000099999999 IQ98NBIQ850123456789012 IS140159260076545510730339 IT60X0542811101000000123456 JO94CBJO0010000000000131000302 KW81CBKU0000000000001234560101 KZ86125KZT5004100100
		LB62099900000001001901229114 LC55HEMM000100010012001200023015 LI21088100002324013AA LT121000011101001000 LU280019400644750000 LV80BANK0000435195001 LY83002048000020100120361
		MC5811222000010123456789030 MD24AG000225100013104168 ME25505000012345678951 MK07250120000058984 MR1300020001010000123456753 MT84MALT011000012345MTLCAST001S
		MU17BOMM0101101030300200000MUR NL91ABNA0417164300 NO9386011117947 PK36SCBL0000001123456702 PL61109010140000071219812874 PS92PALS000000000400123456702 PT50000201231234567890154
		QA58DOHB00001234567890ABCDEFG RO49AAAA1B31007593840000 RS35260005601001611379 SA0380000000608010167519 SC18SSCB11010000000000001497USD SE4550000000058398257466
		SI56263300012039086 SK3112000000198742637541 SM86U0322509800000000270100 ST23000100010051845310146 SV62CENR00000000000000700025 TL380080012345678910157 TN5910006035183598478831
		TR330006100519786457841326 UA213223130000026007233566001 VA59001123000012345678 VG96VPVG0000012345678901 XK051212012345678906`) {
		if got := scan().ibanAt([]byte(n), 0, len(n)); got != len(n) {
			t.Errorf("ibanAt(%s) = %d", n, got)
		}
	}
	for _, f := range strings.Fields(ibanCountries) { // the structures fill the lengths
		account := make([]byte, int(f[2]-'0')*10+int(f[3]-'0')-4)
		for i := range account {
			account[i] = 'A'
		}
		sum := 0
		for _, part := range strings.FieldsFunc(f[4:], func(r rune) bool { return r >= 'a' }) {
			var n int
			_, _ = fmt.Sscan(part, &n)
			sum += n
		}
		if sum != len(account) {
			t.Errorf("%s: the structure has %d characters, the account %d", f, sum, len(account))
		}
	}
}

// Vectors of BIP-173, BIP-32 and SEP-23's makers.
func TestWalletVectors(t *testing.T) {
	for _, s := range []string{"a12uel5l", "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw", "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w"} {
		if !bech32([]byte(s)) {
			t.Errorf("bech32(%s)", s)
		}
	}
	for _, s := range []string{"a12uel5m", "1pzry9x0s0muk", "li1dgmt3", "x1b4n0q5v"} {
		if bech32([]byte(s)) {
			t.Errorf("bech32(%s) is valid", s)
		}
	}
	var room [96]byte
	raw, ok := base58Decode(room[:], []byte("5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ"))
	if !ok || hex.EncodeToString(raw[1:33]) != "0c28fca386c7a227600b2fe50b7cae11ec86d3bf1fbe471be89827e19d72aa1d" {
		t.Errorf("base58 decodes to %x", raw)
	}
	if !base58Check([]byte("xprv9uHRZZhk6KAJC1avXpDAp4MDc3sQKNxDiPvvkX8Br5ngLNv1TxvUxt4cV1rGL5hj6KCesnDYUhd7oWgT11eZG7XnxHrnYeSvkzY7d2bhkJ7")) {
		t.Error("BIP-32's second key")
	}
}

// One character that is another of the same kind breaks each checksum.
func TestOneChangeBreaksAChecksum(t *testing.T) {
	s := scan()
	for _, c := range []struct {
		r        *rule.Rule
		text     string
		alphabet string
	}{
		{&s.card, "4539 1488 0343 6467", "0123456789"},
		{&s.iban, "GB29NWBK60161331926819", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
		{&s.wif, "5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ", "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"},
		{&s.stellar, "SBU2RRGLXH3E5CQHTD3ODLDF2BWDCYUSSBLLZ5GNW7JXHDIYKXZWHOKR", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"},
	} {
		t.Run(c.r.ID, rapid.MakeCheck(func(t *rapid.T) {
			b := []byte(c.text)
			i := rapid.IntRange(0, len(b)-1).Draw(t, "place")
			if to := rapid.SampledFrom([]byte(c.alphabet)).Draw(t, "to"); b[i] != to && b[i] != ' ' {
				b[i] = to
				if has(Scan(nil, b), c.r) {
					t.Fatalf("finds %s", b)
				}
			}
		}))
	}
}

// Every phrase with a valid checksum is found wherever it stands, however it is
// parted; with a wrong one it is not.
func TestSeedPhrases(t *testing.T) {
	list := strings.Fields(wordList)
	gaps := []string{" ", "\n", ", ", "  ", "\t", `","`, "\r\n", " - "}
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{12, 15, 18, 21, 24}).Draw(t, "words")
		seed := sha256.Sum256([]byte(fmt.Sprint(rapid.Uint64().Draw(t, "seed"))))
		entropy := seed[:size/3*4]
		sum := sha256.Sum256(entropy)
		bits := append(append([]byte(nil), entropy...), sum[0])
		wrong := rapid.Bool().Draw(t, "wrong")
		if wrong {
			bits[len(bits)-1] ^= 0x80
		}
		var words []string
		for i := range size {
			n := 0
			for j := i * 11; j < i*11+11; j++ {
				n = n<<1 | int(bits[j/8]>>(7-j%8)&1)
			}
			words = append(words, list[n])
		}
		gap := rapid.SampledFrom(gaps).Draw(t, "gap")
		text := strings.Repeat("~ ", rapid.IntRange(0, 60).Draw(t, "before")) + strings.Join(words, gap) + "!" + strings.Repeat("~", rapid.IntRange(0, 60).Draw(t, "after"))
		matches := Scan(nil, []byte(text))
		if size == 12 || !wrong { // parts of a longer phrase may be valid by chance
			if has(matches, &scan().seed) == wrong {
				t.Fatalf("found %v, wrong %v:\n%s", matches, wrong, text)
			}
		}
		if !wrong && size == 12 && text[matches[0].Start:matches[0].End] != strings.Join(words, gap) {
			t.Fatalf("found only %q", text[matches[0].Start:matches[0].End])
		}
	})
}

func FuzzScan(f *testing.F) {
	for _, r := range Scanned() {
		for _, s := range append(r.Hits, r.Misses...) {
			f.Add([]byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, m := range Scan(nil, text) {
			if m.From < 0 || m.From > m.Start || m.Start >= m.End || m.End > m.To || m.To > len(text) {
				t.Fatalf("%+v in %d bytes", m, len(text))
			}
			if m.Rule == &scan().card || m.Rule == &scan().iban || m.Rule == &scan().wif { // what was found, is found alone
				if !has(Scan(nil, text[m.Start:m.End]), m.Rule) {
					t.Fatalf("%q is not found again", text[m.Start:m.End])
				}
			}
		}
		Host(text)
		Path(text)
	})
}

// The time is linear in text, whatever the text: each of these would take minutes if
// each place looked at all that is around it.
func TestHostileTextTakesLinearTime(t *testing.T) {
	const size = 4 << 20
	for _, piece := range []string{"A", "7", "7 ", "1234 ", "GB29NWBK6016 ", "a1", "zoo ", "ozone drill grab fiber ", "://a:", "a://b:c@", "@", "abandon ability "} {
		text := []byte(strings.Repeat(piece, size/len(piece)))
		began := time.Now()
		matches := Scan(nil, text)
		t.Logf("%q: %d matches, %s", piece, len(matches), time.Since(began))
		Host(text)
		Path(text)
		if len(matches) > size/16 {
			t.Errorf("%q: %d matches", piece, len(matches))
		}
	}
	for _, r := range Rules() {
		if r.Check != nil {
			r.Check([]byte(strings.Repeat("aB3+/", 1<<16)))
			r.Check(nil)
		}
	}
}

func TestCleanTextAllocatesNothing(t *testing.T) {
	text := goSource(t, 1<<20)
	Scan(nil, text)
	if n := testing.AllocsPerRun(5, func() { Scan(nil, text) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
