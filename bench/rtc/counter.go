package rtc

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// Offer is an offer of a server's own, which it makes instead of an answer
// (draft-ietf-wish-whep, section 4.3.2).
type Offer struct {
	server   Answer // without tracks
	bundle   []string
	sections []offered
}

// offered is one media section of an offer.
type offered struct {
	terms

	kind    string
	ufrag   string // of a transport of its own
	list    string // the formats as they stand
	sends   bool
	formats []Codec // without retransmissions
}

// ParseOffer reads an offer with bundled sections.
func ParseOffer(raw string) (*Offer, error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(raw); err != nil {
		return nil, fmt.Errorf("rtc: offer: %w", err)
	}
	o := &Offer{server: Answer{offered: true}}
	_, o.server.lite = d.Attribute("ice-lite")
	if group, ok := d.Attribute("group"); ok && strings.HasPrefix(group, "BUNDLE ") {
		o.bundle = strings.Fields(group)[1:]
	}
	for _, m := range d.MediaDescriptions {
		s := offeredOf(&d, m)
		if _, bundled := m.Attribute("bundle-only"); m.MediaName.Port.Value != 0 {
			o.server.addTransport(&d, m)
		} else if !bundled {
			s.sends = false
		}
		o.sections = append(o.sections, s)
	}
	if err := o.server.complete(); err != nil {
		return nil, fmt.Errorf("rtc: offer: %w", err)
	}
	return o, nil
}

func offeredOf(d *sdp.SessionDescription, m *sdp.MediaDescription) offered {
	s := offered{kind: m.MediaName.Media, list: strings.Join(m.MediaName.Formats, " "), sends: true}
	s.protocol = strings.Join(m.MediaName.Protos, "/")
	for _, a := range slices.Concat(d.Attributes, m.Attributes) {
		switch a.Key {
		case "mid":
			s.mid = a.Value
		case "ice-ufrag":
			s.ufrag = a.Value
		case "sendrecv", "sendonly":
			s.sends = true
		case "recvonly", "inactive":
			s.sends = false
		case "extmap":
			id, uri, _ := strings.Cut(a.Value, " ")
			if n, err := strconv.ParseUint(id, 10, 8); err == nil && strings.HasPrefix(uri, sdp.TransportCCURI) {
				s.number = uint8(n)
			}
		}
	}
	s.formats = formatsOf(m)
	return s
}

// formatsOf returns the formats of a section in the server's order.
func formatsOf(m *sdp.MediaDescription) []Codec {
	var formats []Codec
	var all [128]Codec
	var anyFeedback []string
	for _, a := range m.Attributes {
		pt, value, _ := strings.Cut(a.Value, " ")
		n, err := strconv.ParseUint(pt, 10, 7)
		switch {
		case a.Key == "rtcp-fb" && pt == "*":
			anyFeedback = append(anyFeedback, value)
		case err != nil:
		case a.Key == "rtpmap":
			all[n].setMap(value)
		case a.Key == "fmtp":
			all[n].Format = value
		case a.Key == "rtcp-fb":
			all[n].feedback = append(all[n].feedback, value)
		}
	}
	for n, c := range all {
		if main, ok := strings.CutPrefix(c.Format, "apt="); ok && strings.EqualFold(c.Name, "rtx") {
			if pt, err := strconv.ParseUint(main, 10, 7); err == nil {
				all[pt].RTX = uint8(n)
			}
		}
	}
	for _, f := range m.MediaName.Formats {
		n, err := strconv.ParseUint(f, 10, 7)
		if err != nil || all[n].Name == "" || strings.EqualFold(all[n].Name, "rtx") {
			continue
		}
		c := all[n]
		c.PayloadType, c.feedback = uint8(n), slices.Concat(c.feedback, anyFeedback)
		formats = append(formats, c)
		all[n].Name = "" // a format stands in the list once
	}
	return formats
}

// setMap takes the value of a=rtpmap.
func (c *Codec) setMap(value string) {
	f := strings.Split(value, "/")
	c.Name = f[0]
	if len(f) > 1 {
		c.ClockRate, _ = strconv.Atoi(f[1]) // 0 matches nothing
	}
	if len(f) > 2 {
		c.Channels, _ = strconv.Atoi(f[2])
	}
}

// Answer answers a server's offer: one section is taken for each of those
// wanted, in the first of their codecs that it has, and all others are
// rejected. It returns the SDP for the server, and for Connect what is agreed
// on, with tracks in the order of the sections wanted.
func (t *Transport) Answer(o *Offer, wanted []Section) (string, *Answer, error) {
	agreed := o.server
	taken := make(map[int]Section)
	for _, w := range wanted {
		i, s, err := o.find(w, taken)
		if err != nil {
			return "", nil, err
		}
		taken[i] = s
		c, track := s.Codecs[0], Track{Kind: s.Kind}
		track.Codec, track.Payload, track.RTX = c.Name, c.PayloadType, c.RTX
		if s.Congestion {
			track.Number = o.sections[i].number
		}
		agreed.Tracks = append(agreed.Tracks, track)
	}
	var bundled []string
	other := false // a transport than the one that we know of
	for i, s := range o.sections {
		if _, ok := taken[i]; !ok {
			continue
		}
		if slices.Contains(o.bundle, s.mid) {
			bundled = append(bundled, s.mid)
		} else if s.ufrag != "" && s.ufrag != o.server.Ufrag {
			other = true
		}
	}
	if other || len(taken) > 1 && len(bundled) < len(taken) {
		return "", nil, errors.New("rtc: the server offers media sections that are not bundled")
	}
	return t.writeAnswer(o, taken, bundled), &agreed, nil
}

// find returns the section that answers what is wanted, and its place.
func (o *Offer) find(w Section, taken map[int]Section) (int, Section, error) {
	for i, s := range o.sections {
		if _, ok := taken[i]; ok || s.kind != w.Kind || !s.sends {
			continue
		}
		for _, c := range w.Codecs {
			if got, ok := s.format(c); ok {
				say := slices.DeleteFunc(w.feedback(), func(f string) bool { return !slices.Contains(got.feedback, f) })
				w.Congestion = w.Congestion && s.number != 0 && slices.Contains(say, "transport-cc")
				got.feedback = say
				w.Codecs = []Codec{got}
				return i, w, nil
			}
		}
	}
	return 0, Section{}, fmt.Errorf("rtc: the server offers no %s in %s", w.Kind, w.Codecs[0].Name)
}

// format finds a codec, in the format that is wanted or else in any.
func (s offered) format(c Codec) (Codec, bool) {
	found := -1
	for i, f := range s.formats {
		if !strings.EqualFold(f.Name, c.Name) || f.ClockRate != c.ClockRate {
			continue
		}
		if slices.Equal(parameters(f.Format), parameters(c.Format)) {
			found = i
			break
		}
		if found < 0 {
			found = i
		}
	}
	if found < 0 {
		return Codec{}, false
	}
	return s.formats[found], true
}

// parameters returns those of a format in the order of their names.
func parameters(format string) []string {
	list := strings.FieldsFunc(strings.ToLower(format), func(r rune) bool { return r == ';' || r == ' ' })
	slices.Sort(list)
	return list
}

func (t *Transport) writeAnswer(o *Offer, taken map[int]Section, bundled []string) string {
	var b strings.Builder
	line := t.begin(&b, bundled)
	for i, s := range o.sections {
		if section, ok := taken[i]; ok {
			s.setup = "active"
			if o.server.Setup == "active" {
				s.setup = "passive"
			}
			t.writeSection(line, section, s.terms)
			continue
		}
		line("m=%s 0 %s %s", s.kind, s.protocol, s.list)
		line("c=IN IP4 0.0.0.0")
		line("a=inactive")
		if s.mid != "" {
			line("a=mid:%s", s.mid)
		}
	}
	return b.String()
}
