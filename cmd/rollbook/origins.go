package main

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// allOrigins lets the scripts of all sites call.
const allOrigins = "*"

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// checkOrigins refuses what no browser sends as the Origin of a page (RFC 6454, section 6.2), and patterns.
func checkOrigins(origins []string) error {
	for _, origin := range origins {
		if problem := originProblem(origin); problem != "" {
			return fmt.Errorf("--cors-origins: %q %s", origin, problem)
		}
	}
	return nil
}

// originProblem says what is wrong with an origin, and is empty if nothing is.
func originProblem(origin string) string {
	switch {
	case origin == allOrigins:
		return ""
	case origin == "null":
		return "is the origin of sandboxed pages of any site: it cannot be allowed"
	case strings.ContainsAny(origin, "*?"):
		return "has a wildcard: list each site by its whole name, as in https://a.example.org,https://b.example.org, " +
			"or allow all sites with * alone"
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || !strings.EqualFold(origin, u.Scheme+"://"+u.Host) {
		if strings.Contains(origin, "%") {
			return "must have its name in ASCII, as browsers send it: xn--… for other letters"
		}
		return "must be as in https://example.org, without a path, or *"
	}
	if strings.ContainsFunc(u.Host, func(r rune) bool { return r > 0x7f }) {
		return "must have its name in ASCII, as browsers send it: xn--… for other letters"
	}
	if lower := strings.ToLower(origin); origin != lower {
		return "must be in lower case, as browsers send it: " + lower
	}
	return hostProblem(u)
}

// hostProblem says what is wrong with the address and port of an origin.
func hostProblem(u *url.URL) string {
	host, port := u.Host, u.Port()
	if at := strings.LastIndexByte(host, ':'); at > strings.LastIndexByte(host, ']') {
		host = host[:at]
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		ip, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil {
			return "has no address of IPv6 in its brackets"
		}
		if short := "[" + ip.String() + "]"; short != host {
			return "must have its address as browsers send it: " + u.Scheme + "://" + strings.Replace(u.Host, host, short, 1)
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case host == u.Host:
		return ""
	case port == "" || port == defaultPorts[u.Scheme]:
		return "must be without its port, as browsers send it: " + u.Scheme + "://" + host
	case err != nil || n == 0 || strconv.FormatUint(n, 10) != port:
		return "has no port from 1 to 65535, without leading zeros"
	}
	return ""
}
