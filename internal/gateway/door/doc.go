// Package door lets into a gateway's services only who knows the bottle's token, where
// the gateway listens on an address that every user of the host can reach.
package door
