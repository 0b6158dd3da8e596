package sfu

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// answerTo has a player answer an offer of ours.
func answerTo(t *testing.T, w *watcher, offer []byte) []byte {
	t.Helper()
	err := w.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(offer)})
	if err != nil {
		t.Fatalf("%v in\n%s", err, offer)
	}
	answer, err := w.pc.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(w.pc)
	if err := w.pc.SetLocalDescription(answer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	return []byte(w.pc.LocalDescription().SDP)
}

// TestCounterOffer offers a viewer what there is: it plays, restarts ICE and ends as one that has offered itself.
func TestCounterOffer(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	c := publishCamera(t, s, "m", vp8, opus)
	c.run()
	a, until, err := s.CounterOffer(t.Context(), "m", "v", NoPreference())
	if err != nil || time.Until(until) > offerLife || !strings.Contains(string(a.SDP), "a=setup:actpass") {
		t.Fatalf("%v, until %v\n%s", err, until, a.SDP)
	}
	w := newWatcher(t, newPC(t, append(allVideo(), opus)...))
	answer := string(answerTo(t, w, a.SDP))
	for name, bad := range map[string]string{
		"nothing":       "",
		"no SDP":        "hello",
		"one section":   answer[:strings.LastIndex(answer, "m=")],
		"other mids":    strings.ReplaceAll(answer, "a=mid:", "a=mid:x"),
		"other way":     strings.ReplaceAll(answer, "a=recvonly", "a=sendonly"),
		"inactive":      strings.ReplaceAll(answer, "a=recvonly", "a=inactive"),
		"other codec":   strings.ReplaceAll(answer, "VP8/90000", "VP9/90000"),
		"a DTLS server": strings.ReplaceAll(answer, "a=setup:active", "a=setup:passive"),
		"actpass":       strings.ReplaceAll(answer, "a=setup:active", "a=setup:actpass"),
		"bad ICE":       strings.ReplaceAll(answer, "a=ice-pwd:", "a=ice-pwd:?"),
	} {
		if err := s.Accept(t.Context(), a.SessionID, []byte(bad)); !errors.Is(err, ErrBadOffer) && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	early := Update{Any: true, Fragment: restartFragment}
	if _, err := s.Update(t.Context(), a.SessionID, early); !errors.Is(err, ErrUnsupported) {
		t.Errorf("an update before the answer: %v", err)
	}
	began := now()
	eventually(t, "the next millisecond", func() bool { return now().After(began) })
	if err := s.Accept(t.Context(), a.SessionID, []byte(answer)); err != nil {
		t.Fatal(err)
	}
	for _, st := range s.Sessions("m", "v") {
		if st.Role == "play" && !st.Since.After(began) {
			t.Errorf("it connects since %v, and was answered after %v", st.Since, began)
		}
	}
	if err := s.Accept(t.Context(), a.SessionID, []byte(answer)); !errors.Is(err, ErrUnsupported) {
		t.Errorf("answered twice: %v", err)
	}
	continuous(t, w.await(video, 60))
	w.await(audio, 20)
	if err := s.Close(a.SessionID, "bye"); err != nil {
		t.Error(err)
	}
	if err := s.Accept(t.Context(), a.SessionID, []byte(answer)); !errors.Is(err, ErrNotFound) {
		t.Errorf("an answer after the end: %v", err)
	}
	if err := s.Accept(t.Context(), c.answer.SessionID, []byte(answer)); !errors.Is(err, ErrUnsupported) {
		t.Errorf("an answer to nothing: %v", err)
	}
}

// TestCounterOffersAreBounded holds that offers that nobody answers take a bounded number of places, and give them back.
func TestCounterOffersAreBounded(t *testing.T) {
	t.Parallel()
	s := newSFU(t, func(c *Config) { c.MaxViewerSessions = 2 * maxCounterOffers })
	if _, _, err := s.CounterOffer(t.Context(), "m", "v", NoPreference()); !errors.Is(err, ErrNoPublisher) {
		t.Errorf("nobody publishes: %v", err)
	}
	publishCamera(t, s, "m", vp8)
	var last Answer
	for i := range maxCounterOffers {
		a, _, err := s.CounterOffer(t.Context(), "m", "v", NoPreference())
		if err != nil {
			t.Fatalf("offer %d: %v", i, err)
		}
		last = a
	}
	if _, _, err := s.CounterOffer(t.Context(), "m", "v", NoPreference()); !errors.Is(err, ErrLimit) {
		t.Errorf("one too many: %v", err)
	}
	if err := s.Close(last.SessionID, "bye"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a place", func() bool {
		_, _, err := s.CounterOffer(t.Context(), "m", "v", NoPreference())
		return err == nil
	})
}
