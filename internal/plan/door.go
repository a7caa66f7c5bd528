package plan

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
)

// Where a gateway has no sockets in the bottle's own network, it has one door on a
// loopback address of the host, which every user of the host can reach:
//
//	whoever connects                    bottle-gateway
//	   │◀───────────────────────────────────┤ "bottle IDENTITY\n", a challenge
//	   │ Knock, with a proof of the token   │
//	   ├───────────────────────────────────▶│ wrong: it closes, and says nothing
//	   │◀───────────────────────────────────┤ its own proof; wrong: who connected says no more
//	   │ the service's own protocol         │
//
// The token is drawn for the bottle and known to who made its walls and to the relay
// inside; the gateway is told its hash, by which both prove that they know it. Neither
// is ever sent: once a gateway has died, its address is anybody's, and so is its greeting.
// A micro-VM's relay knocks for the agent.

// DoorGreeting begins what a gateway says first; the identity and a line feed follow.
const DoorGreeting = "bottle "

// DoorPort is where a door is, on the bottle's address; its listener is what holds that
// address. It lies below every system's ephemeral ports.
const DoorPort = 9097

// Lengths in bytes: of a challenge, of a proof, of a Knock without its proof.
const (
	ChallengeSize = 32
	ProofSize     = sha256.Size
	KnockSize     = ChallengeSize + 1 + 6
)

// Services behind a door.
const (
	DoorEgress      byte = 'e' // as SocketEgress
	DoorTransparent byte = 't' // as SocketTransparent; Dst is where the connection was going
	DoorDNS         byte = 'd' // as SocketDNSTCP
	DoorRefused     byte = 'r' // what SocketNFLog gives, each message behind its length as 2 bytes, big-endian; the gateway says nothing
)

// Knock is the first thing that is said at a door.
type Knock struct {
	Challenge [ChallengeSize]byte // to the gateway
	Service   byte
	Dst       netip.AddrPort // IPv4, with DoorTransparent alone
}

// Bytes is the Knock as it is sent.
func (k Knock) Bytes() []byte {
	b := append(k.Challenge[:], k.Service)
	var addr [4]byte
	if a := k.Dst.Addr().Unmap(); a.Is4() {
		addr = a.As4()
	}
	return binary.BigEndian.AppendUint16(append(b, addr[:]...), k.Dst.Port())
}

// ReadKnock reads what Bytes made. A destination is left out where the service takes none.
func ReadKnock(b [KnockSize]byte) Knock {
	k := Knock{Challenge: [ChallengeSize]byte(b[:32]), Service: b[32]}
	if k.Service == DoorTransparent {
		k.Dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[33:37])), binary.BigEndian.Uint16(b[37:]))
	}
	return k
}

// Who proves something at a door.
const (
	ProofOfKnock = "knock"
	ProofOfDoor  = "door"
)

// DoorProof is what who knows a door's token can say to who drew the challenge (RFC 2104).
// knock is what Bytes gave.
func DoorProof(hash [sha256.Size]byte, who string, challenge [ChallengeSize]byte, knock []byte) []byte {
	m := hmac.New(sha256.New, hash[:])
	m.Write([]byte(who))
	m.Write(challenge[:])
	m.Write(knock)
	return m.Sum(nil)
}

// DoorHash is what a gateway is told of a token: SHA-256, hex. It opens the door, too.
func DoorHash(token [32]byte) string {
	h := sha256.Sum256(token[:])
	return hex.EncodeToString(h[:])
}
