package sfu

import (
	"encoding/json"
	"sync"

	"github.com/securecam/securecam/sfu/datachannel"
	"github.com/securecam/securecam/sfu/transport"
)

const (
	// maxEnvelope is how many bytes a message to a peer may have; one to a camera holds a viewer's in JSON.
	maxEnvelope = 64 << 10
	// ReasonDataFlood ends a session that does not stop sending messages, or opening channels for them.
	ReasonDataFlood = "data_flood"
)

// switchboard passes messages between the camera of a media session and its viewers. A viewer's messages are what its
// application makes them; on the camera's side each is an envelope that says whose it is.
type switchboard struct {
	counters *datachannel.Counters

	mu      sync.Mutex // guards what follows
	camera  *session
	viewers map[*session]struct{}
}

// fromViewer is what a camera gets.
type fromViewer struct {
	From string `json:"from"` // the viewer: its stream session
	content
}

// fromCamera is what a camera sends. Without To it is for all viewers.
type fromCamera struct {
	To string `json:"to"`
	content
}

// content is a message in an envelope: one of the two.
type content struct {
	Text   *string `json:"text,omitempty"`
	Binary []byte  `json:"binary,omitempty"` // base64
}

func newSwitchboard(c *datachannel.Counters) *switchboard {
	return &switchboard{counters: c, viewers: make(map[*session]struct{})}
}

// join makes a session's data channels known.
func (b *switchboard) join(sess *session) {
	if sess.data == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if sess.role == publish {
		b.camera = sess
	} else {
		b.viewers[sess] = struct{}{}
	}
}

// leave undoes join.
func (b *switchboard) leave(sess *session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.viewers, sess)
	if b.camera == sess {
		b.camera = nil
	}
}

// pass hands on a message that came from a session. It never waits.
func (b *switchboard) pass(sess *session, m datachannel.Message) {
	if sess.role == publish {
		b.toViewers(sess, m)
		return
	}
	envelope := fromViewer{From: sess.viewer, content: content{Binary: m.Data}}
	if m.Text {
		text := string(m.Data)
		envelope.content = content{Text: &text}
	}
	raw, err := json.Marshal(envelope)
	if err != nil { // strings and bytes always can be
		b.counters.Refused.Add(1)
		return
	}
	b.mu.Lock()
	camera := b.camera
	b.mu.Unlock()
	if camera == nil {
		b.counters.Unheard.Add(1)
		return
	}
	camera.data.Send(datachannel.Message{Text: true, Data: raw})
}

// toViewers hands on what a camera says, unless it is not the camera yet, or no more.
func (b *switchboard) toViewers(sess *session, m datachannel.Message) {
	var envelope fromCamera
	if err := json.Unmarshal(m.Data, &envelope); err != nil || (envelope.Text == nil) == (envelope.Binary == nil) {
		b.counters.Refused.Add(1)
		return
	}
	out := datachannel.Message{Data: envelope.Binary}
	if envelope.Text != nil {
		out = datachannel.Message{Text: true, Data: []byte(*envelope.Text)}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.camera != sess {
		b.counters.Dropped.Add(1)
		return
	}
	for v := range b.viewers {
		if envelope.To == "" || envelope.To == v.viewer {
			v.data.Send(out)
		}
	}
}

// qualityLabel names the data channel on which a viewer says what it wants to be sent.
const qualityLabel = "quality"

// hearWish takes what a viewer says on that channel, and answers it.
func (s *SFU) hearWish(sess *session, m datachannel.Message) []byte {
	wish, err := s.cfg.ReadWish(m.Data)
	if err == nil {
		err = s.SetPreference(sess.id, wish)
	}
	answer := map[string]string{"status": "taken"}
	if err != nil {
		answer = map[string]string{"status": "refused", "reason": err.Error()}
	}
	raw, err := json.Marshal(answer)
	if err != nil { // strings always can be
		return nil
	}
	return raw
}

// carry gives a session data channels. Messages come only when it is connected, and so knows its switchboard.
func (s *SFU) carry(sess *session) {
	var answer func(datachannel.Message) []byte
	if sess.role == play && s.cfg.ReadWish != nil {
		answer = func(m datachannel.Message) []byte { return s.hearWish(sess, m) }
	}
	sess.data = datachannel.New(datachannel.Config{
		Label: qualityLabel, Answer: answer,
		MaxMessage: transport.MaxMessage, MaxSend: maxEnvelope, Counters: &s.data,
		Receive: func(m datachannel.Message) { sess.board.pass(sess, m) },
		Flooded: func() { s.lost(sess, ReasonDataFlood) },
	})
}
