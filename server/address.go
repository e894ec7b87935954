package server

import (
	"net/http"
	"net/netip"
	"strings"
)

// clientAddress returns whom a request came from: the last address of X-Forwarded-For, read from the right, that is not
// one of a trusted proxy; without trusted proxies, the one that is connected. It is the zero address where that has none.
func clientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	address := peerOf(r)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && contains(trusted, address); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break // what a trusted proxy did not write says nothing
		}
		address = hop.Unmap().WithZone("")
	}
	return address
}

// peerOf is the address that is connected, and the zero address where that has none.
func peerOf(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // no network that has addresses
	}
	return peer.Addr().Unmap()
}

// fromProxy reports whether a trusted proxy sends a request.
func fromProxy(r *http.Request, trusted []netip.Prefix) bool { return contains(trusted, peerOf(r)) }

func contains(prefixes []netip.Prefix, address netip.Addr) bool {
	for _, prefix := range prefixes {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// The parts of IPv6 that rate limits count as one, in bits: what a household and an organisation are commonly given
// (RFC 6177), since whoever has one may use all its addresses.
const (
	networkBits = 56
	siteBits    = 48
)

// NetworkOf returns what an address counts as: itself in IPv4, its /56 in IPv6.
func NetworkOf(address netip.Addr) string {
	if prefix, err := address.Prefix(networkBits); err == nil && address.Is6() {
		return prefix.String()
	}
	return address.String()
}

// SiteOf returns the /48 of an address of IPv6, and "" for IPv4.
func SiteOf(address netip.Addr) string {
	if prefix, err := address.Prefix(siteBits); err == nil && address.Is6() {
		return prefix.String()
	}
	return ""
}
