package jail

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

// firewall loads two chains on the output hook:
//
//	nat:    udp to anywhere, port 53                      -> 127.0.0.1:53
//	        tcp to a listed literal                       -> transparent socket
//	        tcp to 198.18.0.0/15 or a public address,
//	            on port 80, 443 or one that a route lists -> transparent socket
//	filter: to 127.0.0.0/8, ::1 or the bottle's own address: accept
//	        all else: log to the gateway, and refuse at once
//
// What no route could allow is refused by the kernel with a reset, so connect()
// fails; the gateway still gets to write its record of it.
func firewall(spec *Spec) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "bottle"})
	if err := natChain(c, table, spec); err != nil {
		return err
	}
	filterChain(c, table)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("load firewall: %w", err)
	}
	return nil
}

func natChain(c *nftables.Conn, table *nftables.Table, spec *Spec) error {
	chain := c.AddChain(&nftables.Chain{
		Name: "nat", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	})
	add := func(parts ...[]expr.Any) {
		var all []expr.Any
		for _, p := range parts {
			all = append(all, p...)
		}
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: all})
	}
	leave := []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}
	add(family(unix.NFPROTO_IPV6), leave)
	add(dstIn(netip.MustParsePrefix("127.0.0.0/8")), leave)
	add(dstIn(netip.MustParsePrefix(plan.BottleAddr+"/32")), leave)
	add(proto(unix.IPPROTO_UDP), dport(53), redirect(53))
	for _, l := range spec.Bottle.Literals {
		a, err := netip.ParseAddr(l)
		if err != nil {
			return fmt.Errorf("read literal: %w", err)
		}
		if a.Is4() {
			add(dstIn(netip.PrefixFrom(a, 32)), proto(unix.IPPROTO_TCP), redirect(plan.TransparentPort))
		}
	}
	ports := map[uint16]bool{80: true, 443: true}
	for _, p := range spec.Bottle.Ports {
		ports[p] = true
	}
	synthetic := netip.MustParsePrefix(plan.SyntheticPrefix)
	for p := range ports {
		add(dstIn(synthetic), proto(unix.IPPROTO_TCP), dport(p), redirect(plan.TransparentPort))
	}
	for _, s := range spec.Bottle.Special {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return fmt.Errorf("read prefix: %w", err)
		}
		if p.Addr().Is4() {
			add(dstIn(p), leave)
		}
	}
	for p := range ports {
		add(proto(unix.IPPROTO_TCP), dport(p), redirect(plan.TransparentPort))
	}
	return nil
}

func filterChain(c *nftables.Conn, table *nftables.Table) {
	drop := nftables.ChainPolicyDrop
	chain := c.AddChain(&nftables.Chain{
		Name: "filter", Table: table, Type: nftables.ChainTypeFilter, Policy: &drop,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter,
	})
	add := func(parts ...[]expr.Any) {
		var all []expr.Any
		for _, p := range parts {
			all = append(all, p...)
		}
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: all})
	}
	accept := []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
	add(dstIn(netip.MustParsePrefix("127.0.0.0/8")), accept)
	add(dstIn(netip.MustParsePrefix(plan.BottleAddr+"/32")), accept)
	add(dstIn(netip.MustParsePrefix("::1/128")), accept)
	// The rate bound is the kernel's: a flood of refused packets must not fill the log.
	add([]expr.Any{
		&expr.Limit{Type: expr.LimitTypePkts, Rate: 200, Unit: expr.LimitTimeSecond, Burst: 200},
		&expr.Log{Group: plan.NFLogGroup, Key: 1 << unix.NFTA_LOG_GROUP},
	})
	add(proto(unix.IPPROTO_TCP), []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}})
	add([]expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}})
}

func family(f byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{f}},
	}
}

func proto(p byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{p}},
	}
}

func dport(p uint16) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(p)},
	}
}

// dstIn matches the destination address of either family.
func dstIn(p netip.Prefix) []expr.Any {
	f, offset, size := byte(unix.NFPROTO_IPV4), uint32(16), uint32(4)
	if p.Addr().Is6() {
		f, offset, size = unix.NFPROTO_IPV6, 24, 16
	}
	mask := make([]byte, size)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return append(family(f),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	)
}

func redirect(port uint16) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Redir{RegisterProtoMin: 1, RegisterProtoMax: 1},
	}
}
