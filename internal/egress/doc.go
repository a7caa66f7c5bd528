// Package egress is the wire between a bottle and the network: an explicit
// proxy, a transparent one, and the bottle's DNS. Every request is a list of
// named steps: read the tunnel's host, ask the policy, terminate TLS under the
// bottle's own CA, compare the authority, ask the policy again, strip, inject,
// resolve, classify, dial that literal, stream, record.
//
// It is the only room that dials out, and the only one besides the git gate
// that reveals a secret (in inject.go). What it could not decide, it denies.
package egress
