package main

import (
	"fmt"
	"net"
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

func originProblem(origin string) string {
	if origin == allOrigins {
		return ""
	}
	if strings.ContainsAny(origin, "*?") {
		return "has a wildcard: list each site by its whole name, as in https://app.example.org,https://www.example.org, or allow all with * alone"
	}
	if origin == "null" {
		return "stands for sandboxed pages of any site: it cannot be allowed"
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || !strings.HasPrefix(origin, u.Scheme+"://") && !strings.HasPrefix(strings.ToLower(origin), u.Scheme+"://") {
		return "must be as in https://example.org, without a path, or *"
	}
	if strings.ToLower(origin) != u.Scheme+"://"+strings.ToLower(u.Host) {
		return "must be as in https://example.org, without a path, or *"
	}
	host := u.Hostname()
	if strings.ContainsFunc(host, func(r rune) bool { return r > 0x7f }) || strings.Contains(u.Host, "%") {
		return "must have its name in ASCII, as browsers send it: xn--… for other letters"
	}
	if origin != strings.ToLower(origin) {
		return fmt.Sprintf("must be in lower case, as browsers send it: %s", strings.ToLower(origin))
	}
	return portProblem(u)
}

func portProblem(u *url.URL) string {
	port := u.Port()
	bare := u.Scheme + "://" + strings.TrimSuffix(u.Host, ":"+port)
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case port == "" && strings.HasSuffix(u.Host, ":"), port != "" && port == defaultPorts[u.Scheme]:
		return fmt.Sprintf("must be without its port, as browsers send it: %s", bare)
	case port != "" && (err != nil || n == 0 || strconv.FormatUint(n, 10) != port):
		return "has a port that is none"
	}
	if ip, err := netip.ParseAddr(u.Hostname()); strings.Contains(u.Hostname(), ":") && (err != nil || ip.String() != u.Hostname()) {
		return fmt.Sprintf("must have its address as browsers send it: %s", net.JoinHostPort(ip.String(), port))
	}
	return ""
}
