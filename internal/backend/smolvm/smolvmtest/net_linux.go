package smolvmtest

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// firewall leads TCP to an address of the list to the relay, whatever the port, and
// refuses all else at once.
func firewall(allow []string, datagrams bool) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "vm"})
	nat := c.AddChain(&nftables.Chain{Name: "nat", Table: table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest})
	for _, a := range allow {
		p, err := netip.ParsePrefix(a)
		if err != nil {
			return err
		}
		c.AddRule(&nftables.Rule{Table: table, Chain: nat, Exprs: slices.Concat(to(p), tcp(), []expr.Any{
			&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(relayPort)},
			&expr.Redir{RegisterProtoMin: 1, RegisterProtoMax: 1},
		})})
	}
	if datagrams {
		c.AddRule(&nftables.Rule{Table: table, Chain: nat, Exprs: slices.Concat(proto(unix.IPPROTO_UDP), []expr.Any{
			&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(relayPort)},
			&expr.Redir{RegisterProtoMin: 1, RegisterProtoMax: 1},
		})})
	}
	filter := c.AddChain(&nftables.Chain{Name: "filter", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter})
	accept := []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
	for _, offset := range []uint32{0, 2} { // source and destination port, of TCP and UDP
		c.AddRule(&nftables.Rule{Table: table, Chain: filter, Exprs: slices.Concat([]expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(relayPort)},
		}, accept)})
	}
	const flags, rst = 13, 4 // RFC 9293, section 3.1: the refusals themselves pass here
	c.AddRule(&nftables.Rule{Table: table, Chain: filter, Exprs: slices.Concat(tcp(), []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: flags, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{rst}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{rst}},
	}, accept)})
	c.AddRule(&nftables.Rule{Table: table, Chain: filter, Exprs: slices.Concat(tcp(), []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}})})
	c.AddRule(&nftables.Rule{Table: table, Chain: filter, Exprs: []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}}})
	return c.Flush()
}

func tcp() []expr.Any { return proto(unix.IPPROTO_TCP) }

func proto(p byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{p}}}
}

func to(p netip.Prefix) []expr.Any {
	mask := make([]byte, 4)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}
