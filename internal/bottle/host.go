package bottle

// Host is a canonical host: a lower-case ASCII DNS name (IDNA A-labels, no
// trailing dot) or a canonical IP literal without brackets. The zero Host is no
// host and matches nothing.
type Host string

// Pattern is a host as a route names it: exact, or every name below it.
type Pattern struct {
	Host Host `json:"host"`
	Sub  bool `json:"sub,omitempty"` // *.host: one or more labels in front, never the apex
}
