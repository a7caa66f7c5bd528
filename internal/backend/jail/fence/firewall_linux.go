package fence

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"bottle/internal/plan"
)

// Firewall loads two chains on the output hook:
//
//	nat:    udp to anywhere, port 53                      -> 127.0.0.1:53
//	        tcp to a listed literal                       -> transparent socket
//	        tcp to 198.18.0.0/15 or a public address,
//	            on port 80, 443 or one that a route lists -> transparent socket
//	filter: to 127.0.0.0/8, ::1 or the bottle's own address: accept
//	        all else: log to the gateway, and refuse at once
//
// What no route could allow is refused by the kernel with a reset, so connect()
// fails; the gateway still gets to write its record of it. Only IPv4 is
// redirected; each family that has NAT costs the kernel a third of a millisecond.
func Firewall(b plan.Bottle) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	if err := natChain(c, b); err != nil {
		return err
	}
	filterChain(c, c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "bottle"}))
	if err := c.Flush(); err != nil {
		return fmt.Errorf("load firewall: %w", err)
	}
	return nil
}

func natChain(c *nftables.Conn, b plan.Bottle) error {
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "bottle"})
	chain := c.AddChain(&nftables.Chain{
		Name: "nat", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	})
	add := func(parts ...[]expr.Any) {
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: slices.Concat(parts...)})
	}
	leave := []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}
	add(dst(netip.MustParsePrefix("127.0.0.0/8")), leave)
	add(dst(netip.MustParsePrefix(plan.BottleAddr+"/32")), leave)
	add(proto(unix.IPPROTO_UDP), dport(53), redirect(53))
	for _, l := range b.Literals {
		a, err := netip.ParseAddr(l)
		if err != nil {
			return fmt.Errorf("read literal: %w", err)
		}
		if a.Is4() {
			add(dst(netip.PrefixFrom(a, 32)), proto(unix.IPPROTO_TCP), redirect(plan.TransparentPort))
		}
	}
	ports, err := portSet(c, table, b.Ports)
	if err != nil {
		return err
	}
	special, err := specialSet(c, table, b.Special)
	if err != nil {
		return err
	}
	add(dst(netip.MustParsePrefix(plan.SyntheticPrefix)), proto(unix.IPPROTO_TCP), ports, redirect(plan.TransparentPort))
	add(special, leave)
	add(proto(unix.IPPROTO_TCP), ports, redirect(plan.TransparentPort))
	return nil
}

// portSet matches a destination port that a route may use.
func portSet(c *nftables.Conn, table *nftables.Table, listed []uint16) ([]expr.Any, error) {
	ports := slices.Concat([]uint16{80, 443}, listed)
	slices.Sort(ports)
	var elements []nftables.SetElement
	for _, p := range slices.Compact(ports) {
		elements = append(elements, nftables.SetElement{Key: binaryutil.BigEndian.PutUint16(p)})
	}
	set := &nftables.Set{Table: table, Name: "ports", Constant: true, KeyType: nftables.TypeInetService}
	if err := c.AddSet(set, elements); err != nil {
		return nil, fmt.Errorf("list ports: %w", err)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
	}, nil
}

// specialSet matches a destination that is not public, as a set of intervals:
// one rule for each prefix would take the kernel ten times as long to load.
func specialSet(c *nftables.Conn, table *nftables.Table, prefixes []string) ([]expr.Any, error) {
	elements, err := intervals(prefixes)
	if err != nil {
		return nil, err
	}
	set := &nftables.Set{Table: table, Name: "special", Constant: true, Interval: true, KeyType: nftables.TypeIPAddr}
	if err := c.AddSet(set, elements); err != nil {
		return nil, fmt.Errorf("list prefixes: %w", err)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
	}, nil
}

// intervals are the IPv4 prefixes as the kernel wants them: in order, with no
// overlap, each a first address and the one behind the last.
func intervals(prefixes []string) ([]nftables.SetElement, error) {
	var list []netip.Prefix
	for _, s := range prefixes {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("read prefix: %w", err)
		}
		if p.Addr().Is4() {
			list = append(list, p.Masked())
		}
	}
	slices.SortFunc(list, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	var out []nftables.SetElement
	var end uint64 // behind the last address so far
	closeLast := func() {
		if len(out) > 0 && end <= math.MaxUint32 { // the last of all has nothing behind it
			out = append(out, nftables.SetElement{Key: binaryutil.BigEndian.PutUint32(uint32(end)), IntervalEnd: true})
		}
	}
	for _, p := range list {
		first := uint64(binary.BigEndian.Uint32(p.Addr().AsSlice()))
		if len(out) == 0 || first > end {
			closeLast()
			out = append(out, nftables.SetElement{Key: p.Addr().AsSlice()})
		}
		end = max(end, first+1<<(32-p.Bits()))
	}
	closeLast()
	return out, nil
}

func filterChain(c *nftables.Conn, table *nftables.Table) {
	drop := nftables.ChainPolicyDrop
	chain := c.AddChain(&nftables.Chain{
		Name: "filter", Table: table, Type: nftables.ChainTypeFilter, Policy: &drop,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter,
	})
	add := func(parts ...[]expr.Any) {
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: slices.Concat(parts...)})
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

// dstIn matches the destination address where both families pass.
func dstIn(p netip.Prefix) []expr.Any {
	f := byte(unix.NFPROTO_IPV4)
	if p.Addr().Is6() {
		f = unix.NFPROTO_IPV6
	}
	return append(family(f), dst(p)...)
}

// dst matches the destination address where only p's family passes.
func dst(p netip.Prefix) []expr.Any {
	offset, size := uint32(16), uint32(4)
	if p.Addr().Is6() {
		offset, size = 24, 16
	}
	mask := make([]byte, size)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

func redirect(port uint16) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Redir{RegisterProtoMin: 1, RegisterProtoMax: 1},
	}
}
