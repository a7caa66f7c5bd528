package known

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// Fingerprint names a value in records and approvals without a byte of it: 128 bits of
// HMAC-SHA-256 (RFC 2104) in 32 hex digits. Equal values have equal fingerprints under
// one key; who has not the key cannot try values. The key is used for nothing that
// could clash: the message begins with the name of this use.
func Fingerprint(key [32]byte, value []byte) string {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte("bottle/dlp/known fingerprint v1\x00"))
	mac.Write(value)
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
