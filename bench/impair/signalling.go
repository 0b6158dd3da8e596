package impair

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

const (
	// ControlPath is where Signalling shows and changes its proxy: GET, PUT with a State, POST to /rebind below it.
	ControlPath = "/-/impair"
	// maxDescription bounds an offer, an answer or a fragment.
	maxDescription = 1 << 20
)

const (
	typeSDP      = "application/sdp"
	typeFragment = "application/trickle-ice-sdpfrag"
)

var errNoCandidate = errors.New("impair: the answer has no UDP candidate with an IP address")

// State is what the control path shows; of what a client sends, Up and Down count.
type State struct {
	Proxy      netip.AddrPort `json:"proxy"`
	Up         Link           `json:"up"`
	Down       Link           `json:"down"`
	CountsUp   Counts         `json:"countsUp"`
	CountsDown Counts         `json:"countsDown"`
}

// Signalling relays HTTP, WHIP and WHEP included, to the server at target, and leads the media of the sessions that are
// made through it over p: it takes the candidates out of offers and fragments, so that the server knows no other way to
// the peer, and puts p's address for the server's into answers. p is aimed at what the answer said. Everything else goes
// through as it is. Besides, it serves ControlPath.
func Signalling(target *url.URL, p *Proxy) http.Handler {
	relay := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		ModifyResponse: func(r *http.Response) error { return rewriteAnswer(r, target, p) },
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+ControlPath, func(w http.ResponseWriter, _ *http.Request) { showState(w, p) })
	mux.HandleFunc("PUT "+ControlPath, func(w http.ResponseWriter, r *http.Request) {
		var s State // what is left out stays as it is
		s.Up, s.Down = p.Links()
		err := json.NewDecoder(io.LimitReader(r.Body, maxDescription)).Decode(&s)
		if err == nil {
			err = p.Set(s.Up, s.Down)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		showState(w, p)
	})
	mux.HandleFunc("POST "+ControlPath+"/rebind", func(w http.ResponseWriter, _ *http.Request) {
		if err := p.Rebind(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		showState(w, p)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if err := stripRequest(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		relay.ServeHTTP(w, r)
	})
	return mux
}

func showState(w http.ResponseWriter, p *Proxy) {
	s := State{Proxy: p.Addr()}
	s.Up, s.Down = p.Links()
	s.CountsUp, s.CountsDown = p.Counts()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s) // the client may be gone
}

func mediaType(h http.Header) string {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// stripRequest takes the candidates out of a session description.
func stripRequest(r *http.Request) error {
	if kind := mediaType(r.Header); kind != typeSDP && kind != typeFragment {
		return nil
	}
	raw, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxDescription))
	if err != nil {
		return err
	}
	stripped := StripCandidates(raw)
	r.Body = io.NopCloser(bytes.NewReader(stripped))
	r.ContentLength = int64(len(stripped))
	return nil
}

// rewriteAnswer leads an answer's peer through the proxy, and keeps later requests of the session on this way.
func rewriteAnswer(r *http.Response, target *url.URL, p *Proxy) error {
	origin := target.Scheme + "://" + target.Host
	if location, ok := strings.CutPrefix(r.Header.Get("Location"), origin); ok {
		r.Header.Set("Location", location)
	}
	kind := mediaType(r.Header)
	if kind != typeSDP && kind != typeFragment || r.StatusCode >= http.StatusMultipleChoices {
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxDescription))
	if err := errors.Join(err, r.Body.Close()); err != nil {
		return err
	}
	answer, server, err := RewriteAnswer(raw, p.Addr())
	switch {
	case err == nil:
		p.Aim(server)
	case kind == typeFragment: // of a restart that keeps the candidates
		answer = raw
	default:
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(answer))
	r.ContentLength = int64(len(answer))
	r.Header.Set("Content-Length", strconv.Itoa(len(answer)))
	return nil
}

// StripCandidates takes the candidates out of an offer or fragment: its sender can then only be reached the way it came.
func StripCandidates(sdp []byte) []byte {
	var out []byte
	for line := range bytes.Lines(sdp) {
		if !bytes.HasPrefix(line, []byte("a=candidate:")) {
			out = append(out, line...)
		}
	}
	return out
}

// RewriteAnswer puts proxy in place of the candidates in an answer. It returns the first of them that is UDP with an IP
// address, a loopback or IPv4 one rather than others.
func RewriteAnswer(sdp []byte, proxy netip.AddrPort) (answer []byte, server netip.AddrPort, err error) {
	best := 0
	var out []byte
	for line := range bytes.Lines(sdp) {
		candidate, ok := bytes.CutPrefix(line, []byte("a=candidate:"))
		if !ok {
			out = append(out, line...)
			continue
		}
		if best == 0 {
			out = fmt.Appendf(out, "a=candidate:1 1 udp 2130706431 %s %d typ host\r\n", proxy.Addr(), proxy.Port())
		}
		addr, rank := candidateAddress(string(candidate))
		if rank > best || best == 0 {
			best, server = max(rank, 1), addr
		}
	}
	if !server.IsValid() {
		return nil, netip.AddrPort{}, errNoCandidate
	}
	return out, server, nil
}

// candidateAddress reads "foundation component transport priority address port typ …": RFC 8839, section 5.1. rank says
// how likely it is that this host reaches it.
func candidateAddress(line string) (addr netip.AddrPort, rank int) {
	f := strings.Fields(line)
	if len(f) < 8 || !strings.EqualFold(f[2], "udp") || f[7] != "host" {
		return netip.AddrPort{}, 0
	}
	addr, err := netip.ParseAddrPort(f[4] + ":" + f[5])
	if err != nil {
		if addr, err = netip.ParseAddrPort("[" + f[4] + "]:" + f[5]); err != nil {
			return netip.AddrPort{}, 0
		}
	}
	switch {
	case addr.Addr().IsLoopback():
		return addr, 4
	case addr.Addr().Is4():
		return addr, 3
	default:
		return addr, 2
	}
}
