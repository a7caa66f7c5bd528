// Package dial opens every onward connection of a gateway. What was decided on is
// a name; what is dialled is an address, and between the two stand DNS servers
// that others run. So the Dialer resolves after the decision, judges every
// address, and connects to a literal that it judged, or leaves all that to the
// proxy that the operator named.
//
//	upstream.address   dialled as the operator wrote it, past the upstream proxy
//	upstream proxy     CONNECT with the decided name; the proxy resolves
//	else               resolve, judge every address, connect to the fastest
package dial
