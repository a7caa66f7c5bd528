package policy

// Reason is the stable code of a decision: the same word in the denial's JSON,
// the audit log, the git sideband and the supervisor's answers. Codes are added,
// never renamed.
type Reason string

// The reasons that this package gives.
const (
	Listed          Reason = "listed" // the only one of an allowing verdict here
	NoPolicy        Reason = "no_policy"
	BadHost         Reason = "bad_host"
	BadPort         Reason = "bad_port"
	BadScheme       Reason = "bad_scheme"
	BadMethod       Reason = "bad_method"
	BadPath         Reason = "bad_path"
	AmbiguousPath   Reason = "ambiguous_path"
	HostNotListed   Reason = "host_not_listed"
	PortNotListed   Reason = "port_not_listed"
	MethodNotListed Reason = "method_not_listed"
	MethodForbidden Reason = "method_forbidden"
	PathNotListed   Reason = "path_not_listed"
	CleartextAuth   Reason = "cleartext_credential"
	PassthroughOnly Reason = "passthrough_only"
	H2CNotListed    Reason = "cleartext_http2"
	AddressLiteral  Reason = "address_literal"
	PrivateAddress  Reason = "private_address"
	MetadataAddress Reason = "metadata_address"
	NameNotListed   Reason = "dns_name_not_listed"
)

// The reasons that the wires give when a decision meets the world.
const (
	BadRequest           Reason = "bad_request"
	BadHeader            Reason = "bad_header"
	BadFraming           Reason = "bad_framing"
	UpgradeRefused       Reason = "upgrade_refused"
	ProxyAuth            Reason = "proxy_auth"
	NotHTTP              Reason = "not_http"
	AuthorityMismatch    Reason = "authority_mismatch"
	SNIMissing           Reason = "sni_missing"
	SNIMismatch          Reason = "sni_mismatch"
	Limit                Reason = "limit"
	LimitConnections     Reason = "limit_connections"
	LimitTunnels         Reason = "limit_tunnels"
	LimitRate            Reason = "limit_rate"
	LimitHeader          Reason = "limit_header"
	LimitURL             Reason = "limit_url"
	LimitBytesOut        Reason = "limit_bytes_out"
	Revoked              Reason = "revoked"
	TooSlow              Reason = "too_slow"
	NoCredential         Reason = "no_credential"
	PlaceholderLeak      Reason = "placeholder_leak"
	SecretFound          Reason = "secret_found"
	NotScannable         Reason = "not_scannable"
	InboundBlocked       Reason = "inbound_blocked"
	UpstreamResolve      Reason = "upstream_resolve"
	UpstreamUnreachable  Reason = "upstream_unreachable"
	UpstreamTLS          Reason = "upstream_tls"
	UpstreamProtocol     Reason = "upstream_protocol"
	UpstreamHostKey      Reason = "upstream_host_key"
	UpstreamRefused      Reason = "upstream_refused"
	WebSocketProtocol    Reason = "websocket_protocol"
	UpstreamProxyRefused Reason = "upstream_proxy_refused"
	OwnAddress           Reason = "own_address"
	UnknownDestination   Reason = "unknown_destination"
	KernelRefused        Reason = "kernel_refused"
	RepoNotListed        Reason = "repo_not_listed"
	RefNotListed         Reason = "ref_not_listed"
	ForcePush            Reason = "force_push"
	TagPush              Reason = "tag_push"
	BadRef               Reason = "bad_ref"
	BadObject            Reason = "bad_object"
	HiddenObject         Reason = "hidden_object"
	LargeFile            Reason = "large_file"
	UnsafePath           Reason = "unsafe_path"
	UnsafeLink           Reason = "unsafe_link"
	UnsafeSubmodule      Reason = "unsafe_submodule"
	ProtectedPath        Reason = "protected_path"
	WrongCommitter       Reason = "wrong_committer"
	TooManyFailures      Reason = "too_many_failures"
	DryRun               Reason = "dry_run"
	Internal             Reason = "internal"
)

// Reasons lists every code, in a fixed order.
func Reasons() []Reason {
	return []Reason{
		Listed, NoPolicy, BadHost, BadPort, BadScheme, BadMethod, BadPath, AmbiguousPath,
		HostNotListed, PortNotListed, MethodNotListed, MethodForbidden, PathNotListed,
		CleartextAuth, PassthroughOnly, H2CNotListed, AddressLiteral, PrivateAddress, MetadataAddress, NameNotListed,
		BadRequest, BadHeader, BadFraming, UpgradeRefused, ProxyAuth, NotHTTP, AuthorityMismatch, SNIMissing, SNIMismatch, Limit,
		LimitConnections, LimitTunnels, LimitRate, LimitHeader, LimitURL, LimitBytesOut, Revoked, TooSlow,
		NoCredential, PlaceholderLeak, SecretFound, NotScannable, InboundBlocked, UpstreamResolve, UpstreamUnreachable, UpstreamTLS,
		UpstreamProtocol, UpstreamHostKey, UpstreamRefused, WebSocketProtocol, UpstreamProxyRefused, OwnAddress, UnknownDestination, KernelRefused, RepoNotListed, RefNotListed, ForcePush,
		TagPush, BadRef, BadObject, HiddenObject, LargeFile, UnsafePath, UnsafeLink, UnsafeSubmodule, ProtectedPath, WrongCommitter, TooManyFailures,
		DryRun, Internal,
	}
}

// Text is the reason as a sentence for a person. An unknown code, the empty one
// too, is called undecided, and what is undecided is denied.
func (r Reason) Text() string {
	if s := r.decided(); s != "" {
		return s
	}
	if s := r.bounded(); s != "" {
		return s
	}
	if s := r.met(); s != "" {
		return s
	}
	if s := r.pushed(); s != "" {
		return s
	}
	if s := r.beyond(); s != "" {
		return s
	}
	return "this could not be decided, so it is refused"
}

func (r Reason) decided() string {
	switch r {
	case Listed:
		return "a route lists this"
	case NoPolicy:
		return "no policy is loaded, so nothing is let through"
	case BadHost:
		return "the host can't be read as one name or address"
	case BadPort:
		return "the port is not a number from 1 to 65535"
	case BadScheme:
		return "only http and https go through"
	case BadMethod:
		return "the method is not an HTTP token"
	case BadPath:
		return "the path climbs, or can't be read in one way"
	case AmbiguousPath:
		return "another server could read this path as one that is decided differently"
	case HostNotListed:
		return "no route lists this host"
	case PortNotListed:
		return "a route lists this host, but not this port"
	case MethodNotListed:
		return "a route lists this host and path, but not this method"
	case MethodForbidden:
		return "this method is never let through"
	case PathNotListed:
		return "a route lists this host, but not this path"
	case CleartextAuth:
		return "this route injects a credential, which would travel unencrypted"
	case PassthroughOnly:
		return "this route passes TLS through unopened and takes no plain requests"
	case H2CNotListed:
		return "no route lists HTTP/2 without TLS for this host and port"
	case AddressLiteral:
		return "no route lists this address; use the host's name"
	case PrivateAddress:
		return "this address is not on the public internet"
	case MetadataAddress:
		return "this is the address of a cloud's metadata service, which hands out credentials"
	case NameNotListed:
		return "no route lists this name, so it is not resolved"
	}
	return ""
}

func (r Reason) bounded() string {
	switch r {
	case TooSlow:
		return "the request did not arrive in time"
	case Limit:
		return "a limit of the gateway is reached"
	case LimitConnections:
		return "the bottle has as many connections open as it may"
	case LimitTunnels:
		return "the bottle has as many tunnels open as it may"
	case LimitRate:
		return "the bottle sends more requests a second than it may"
	case LimitHeader:
		return "the header of the request is too large"
	case LimitURL:
		return "the URL is too long"
	case LimitBytesOut:
		return "the bottle may not send so much in an hour (bytes_out_per_hour and host_bytes_out_per_hour of egress.limits in its manifest)"
	case Revoked:
		return "a new policy no longer allows this, so it was cut"
	}
	return ""
}

func (r Reason) met() string {
	switch r {
	case BadRequest:
		return "the request is malformed"
	case BadHeader:
		return "a header of the request can be read in two ways"
	case BadFraming:
		return "where the request's body ends can be read in two ways"
	case UpgradeRefused:
		return "the request wants another protocol than websocket"
	case ProxyAuth:
		return "this proxy wants the password of its address"
	case NotHTTP:
		return "the connection speaks neither HTTP nor TLS"
	case AuthorityMismatch:
		return "the request names another host than its connection"
	case SNIMissing:
		return "the TLS handshake names no host"
	case SNIMismatch:
		return "the TLS handshake names another host than its connection"
	case NoCredential:
		return "the credential of this route has no value"
	case PlaceholderLeak:
		return "the request carries the placeholder of a credential to where that does not belong"
	case SecretFound:
		return "the request carries a secret"
	case NotScannable:
		return "the request can't be scanned for secrets"
	case UnknownDestination:
		return "the connection goes to an address that stands for no name"
	case KernelRefused:
		return "the bottle's wall refused the connection"
	case Internal:
		return "the gateway failed, so this is refused"
	}
	return ""
}

func (r Reason) pushed() string {
	switch r {
	case RepoNotListed:
		return "the bottle has no such repository"
	case RefNotListed:
		return "the bottle may not push this ref"
	case ForcePush:
		return "the bottle may not rewrite this ref"
	case TagPush:
		return "the bottle may not push tags"
	case BadRef:
		return "git allows no ref of this name"
	case BadObject:
		return "the object is not in the form that git writes"
	case HiddenObject:
		return "the object is in the push, and no pushed ref reaches it"
	case LargeFile:
		return "the file is larger than may be pushed"
	case UnsafePath:
		return "on some systems the path is one of git's own"
	case UnsafeLink:
		return "the symlink leads out of the repository, or into git's own folder"
	case UnsafeSubmodule:
		return "the submodule could run a command, or write outside of its folder"
	case ProtectedPath:
		return "the path may be changed only with the operator's approval"
	case WrongCommitter:
		return "the commit is not by the bottle's own committer"
	case TooManyFailures:
		return "there are more failures than are listed, and not all was looked at"
	case DryRun:
		return "it was a dry run: the push was judged, and nothing was sent"
	}
	return ""
}

func (r Reason) beyond() string {
	switch r {
	case UpstreamResolve:
		return "the host's name does not resolve"
	case UpstreamUnreachable:
		return "the host can't be reached"
	case UpstreamTLS:
		return "the host's certificate or TLS can't be trusted"
	case UpstreamProtocol:
		return "the host's answer is malformed"
	case UpstreamHostKey:
		return "the host shows another SSH key than the one that is pinned"
	case UpstreamRefused:
		return "the host refused it, in its own words"
	case InboundBlocked:
		return "the host's answer holds what is meant to work on an agent"
	case WebSocketProtocol:
		return "a frame breaks the WebSocket protocol (RFC 6455)"
	case UpstreamProxyRefused:
		return "the proxy that this bottle's traffic goes through refused it"
	case OwnAddress:
		return "this address is one of the machine's own"
	}
	return ""
}
