package media

import (
	"mime"
	"strings"
)

const (
	typeSDP     = "application/sdp"
	typeSDPFrag = "application/trickle-ice-sdpfrag"

	allowEndpoint = "GET, HEAD, OPTIONS, POST"
	allowEvents   = "DELETE, GET, OPTIONS"
	allowSession  = "DELETE, GET, HEAD, OPTIONS, PATCH"
)

// acceptPatch lists the media types that PATCH of a session takes (RFC 5789,
// section 3.1). The answer to a counter-offer is one more, of such a session.
func acceptPatch(d direction) string {
	if d == publish {
		return typeSDPFrag
	}
	return typeSDPFrag + ", " + typeJSON
}

// hasMediaType reports whether a Content-Type names the media type want, in
// any case and with any parameters (RFC 9110, section 8.3.1).
func hasMediaType(contentType, want string) bool {
	got, _, err := mime.ParseMediaType(contentType)
	return err == nil && got == want
}

// precondition is what an If-Match header asks for.
type precondition struct {
	anyone bool     // *: whatever is current
	etags  []string // or one of these strong ones
}

// parseIfMatch reads an If-Match header; it reports false if there is none.
// The quoted form of * is taken too: the example of RFC 9725, section 4.3.3
// prints it so. Weak tags are left out, as they never match, and so is all
// that follows a malformed one (RFC 9110, section 13.1.1).
func parseIfMatch(header string) (p precondition, given bool) {
	header = strings.TrimSpace(header)
	switch header {
	case "":
		return precondition{}, false
	case "*", `"*"`:
		return precondition{anyone: true}, true
	}
	for rest := header; rest != ""; {
		tag, after, ok := cutETag(rest)
		if !ok {
			break
		}
		if rest = after; strings.HasPrefix(tag, `"`) {
			p.etags = append(p.etags, tag)
		}
	}
	return p, true
}

// cutETag cuts the first entity-tag off a comma separated list (RFC 9110,
// section 8.8.3). It reports false if the list is malformed.
func cutETag(list string) (tag, rest string, ok bool) {
	list = strings.TrimLeft(list, ", \t")
	if list == "" {
		return "", "", true
	}
	start := 0
	if strings.HasPrefix(list, "W/") {
		start = 2
	}
	if len(list) <= start || list[start] != '"' {
		return "", "", false
	}
	end := strings.IndexByte(list[start+1:], '"')
	if end < 0 {
		return "", "", false
	}
	end += start + 2
	tag, rest = list[:end], strings.TrimLeft(list[end:], " \t")
	if rest != "" && rest[0] != ',' {
		return "", "", false
	}
	return tag, rest, true
}

// links formats ICE servers as Link header values, one per URL (RFC 9725,
// section 4.6). What cannot stand in a header is left out.
func links(servers []ICEServer) []string {
	var out []string
	for _, server := range servers {
		for _, url := range server.URLs {
			if !visible(url) || strings.ContainsAny(url, "<>") || !printable(server.Username+server.Credential) {
				continue
			}
			link := "<" + url + `>; rel="ice-server"`
			if server.Username != "" {
				link += "; username=" + quote(server.Username) + "; credential=" + quote(server.Credential) +
					`; credential-type="password"`
			}
			out = append(out, link)
		}
	}
	return out
}

// quote makes a quoted-string (RFC 9110, section 5.6.4).
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func visible(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}
