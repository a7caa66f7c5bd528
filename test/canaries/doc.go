// Package canaries runs the real agent CLIs, at the versions that versions.json
// pins, against fakes of their vendors' APIs on loopback. It holds tests only.
//
// They are opt-in: BOTTLE_RUN_CANARIES=1. The CLIs are installed once, with npm,
// into BOTTLE_CANARY_DIR (default: bot-bottle-canaries in the user's cache
// folder, /var/cache for root). BOTTLE_BIN names the bottle under test (default
// bin/bottle). What BOTTLE_TEST_REQUIRE lists (npm, tmux) must be there; without
// it a missing tool skips.
package canaries
