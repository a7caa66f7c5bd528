// Package canaries runs the real agent CLIs, at the versions that versions.json
// pins, against fakes of their vendors' APIs on loopback. It holds tests only.
//
// They are opt-in: make canaries, or BOTTLE_RUN_CANARIES=1. The CLIs are installed
// once, with npm, into BOTTLE_CANARY_DIR (default: bot-bottle-canaries in the
// user's cache folder, in /var/cache for root). BOTTLE_BIN names another bottle to
// test than the one built from this tree.
package canaries
