package own

import "bottle/internal/dlp/rule"

// rules sets what Scan finds. The hits are vectors that standards publish, or have
// been made for here.
func (s *scanner) rules() {
	s.card = rule.Rule{ID: "payment-card", Description: "The number of a payment card.",
		Hits:   []string{"4539 1488 0343 6467", "card=4539148803436467;", "5425-2334-3010-9903", `"pan":"374245455400126"`, "pay with 4539148803436467.", "3607 050000 1020", "(36070500001020)"},
		Misses: []string{"4111 1111 1111 1111", "4242424242424242", "378282246310005", "4539 1488 0343 6468", "0.4539148803436467", "a4539148803436467", "45391488034364670", "1234 4539 1488 0343 6467", "5282 5281 5290 5293", "6218 6241 6242 6243", "4539148803436467-1"}}
	s.iban = rule.Rule{ID: "iban", Description: "The number of a bank account (ISO 13616).",
		Hits:   []string{"DE89 3704 0044 0532 0130 00", "iban: GB29NWBK60161331926819.", "NO9386011117947", "MT84 MALT 0110 0001 2345 MTLC AST0 01S"},
		Misses: []string{"DE89 3704 0044 0532 0130 01", "DE8937040044053201300", "XDE89370400440532013000", "DE893704004405320130000", "ZZ89370400440532013000"}}
	s.seed = rule.Rule{ID: "seed-phrase", Description: "The seed phrase of a wallet (BIP-39).",
		Hits: []string{
			"ozone drill grab fiber curtain grace pudding thank cruise elder eight picnic",
			"1. ozone\n2. drill\n3. grab\n4. fiber\n5. curtain\n6. grace\n7. pudding\n8. thank\n9. cruise\n10. elder\n11. eight\n12. picnic\n",
			`["void","come","effort","suffer","camp","survey","warrior","heavy","shoot","primary","clutch","crush","open","amazing","screen","patrol","group","space","point","ten","exist","slush","involve","unfold"]`,
		},
		Misses: []string{"ozone drill grab fiber curtain grace pudding thank cruise elder eight zebra", "abandon ability able about above absent absorb abstract absurd abuse access accident", "test test test test test test test test test test test junk"}}
	s.wif = rule.Rule{ID: "bitcoin-private-key", Description: "A private key of Bitcoin in wallet import format.",
		Hits:   []string{"5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ", "key=KwdMAjGmerYanjeui5SHS7JkmpZvVipYvB2LJGU1ZxJwYvP98617;"},
		Misses: []string{"5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTj", "5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJa"}}
	s.stellar = rule.Rule{ID: "stellar-secret-seed", Description: "A secret seed of Stellar (SEP-23).",
		Hits: []string{"SBU2RRGLXH3E5CQHTD3ODLDF2BWDCYUSSBLLZ5GNW7JXHDIYKXZWHOKR"}, Misses: []string{"SBU2RRGLXH3E5CQHTD3ODLDF2BWDCYUSSBLLZ5GNW7JXHDIYKXZWHOKS", "GBU2RRGLXH3E5CQHTD3ODLDF2BWDCYUSSBLLZ5GNW7JXHDIYKXZWHOKR"}}
	s.url = rule.Rule{ID: "url-password", Description: "A password in a URL.",
		Hits:   []string{"postgres://bob:K9w2!rXp44m@db.internal/a", "redis://:K9w2rXp44m@cache:6379", "mongodb+srv://bob:K9w2rXp44m@a.mongodb.net", "https://bob:K9w2rXp44m@git.internal/x.git", "jdbc:mysql://bob:K9w2rXp44m@db/a"},
		Misses: []string{"postgres://user:password@localhost/a", "https://user:${PASS}@host", "http://foo:bar@baz", "https://a/b:c@d", "git@github.com:a/b", "https://user:<token>@host", "http://host:8080/@x"}}
}
