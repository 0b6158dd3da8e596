package trial_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// server is a media server as small as can be: it forwards each packet of a
// room's camera to its viewers, whose offers it answers, or counters with its
// own. tamper returns what becomes of a packet: any number of packets.
type server struct {
	*httptest.Server
	t      *testing.T
	api    *webrtc.API
	token  string
	tamper func(p *rtp.Packet) []*rtp.Packet

	mu       sync.Mutex
	rooms    map[string]*room
	peers    map[string]*webrtc.PeerConnection
	sessions int
	tracks   sync.WaitGroup
}

type room struct {
	tracks  []*webrtc.TrackLocalStaticRTP
	arrived chan struct{} // closed when all tracks of the camera are known
}

func newServer(t *testing.T, tamper func(*rtp.Packet) []*rtp.Packet, configure ...func(*webrtc.SettingEngine)) *server {
	t.Helper()
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	quiet := &logging.DefaultLoggerFactory{Writer: io.Discard}
	settings := webrtc.SettingEngine{LoggerFactory: quiet}
	mux := webrtc.NewICEUDPMux(quiet.NewLogger("ice"), socket)
	settings.SetICEUDPMux(mux)
	settings.SetIncludeLoopbackCandidate(true)
	for _, c := range configure {
		c(&settings)
	}
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	s := &server{
		t: t, api: webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(media)),
		token: "secret", tamper: tamper, rooms: map[string]*room{}, peers: map[string]*webrtc.PeerConnection{},
	}
	s.Server = httptest.NewServer(http.HandlerFunc(s.handle))
	t.Cleanup(func() {
		s.Close()
		s.mu.Lock()
		left := len(s.peers)
		for _, pc := range s.peers {
			_ = pc.Close()
		}
		s.mu.Unlock()
		if left > 0 {
			t.Errorf("%d sessions were never deleted", left)
		}
		s.tracks.Wait()
		_ = mux.Close()
		_ = socket.Close()
	})
	return s
}

// handle serves POST /whip/ROOM, /whep/ROOM and /counter/ROOM, PATCH and
// DELETE of a session.
func (s *server) handle(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+s.token {
		http.Error(w, "who are you", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	switch r.Method {
	case http.MethodDelete:
		s.mu.Lock()
		pc := s.peers[r.URL.Path]
		delete(s.peers, r.URL.Path)
		s.mu.Unlock()
		if pc != nil {
			_ = pc.Close()
		}
	case http.MethodPatch:
		s.accept(w, r, string(body))
	default:
		s.open(w, r, string(body))
	}
}

func (s *server) open(w http.ResponseWriter, r *http.Request, offer string) {
	pc, err := s.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	way, name := path.Split(r.URL.Path)
	if way == "/whip/" {
		s.publish(pc, name, strings.Count(offer, "m="))
	} else if err := s.play(pc, name); err != nil {
		_ = pc.Close()
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	if way == "/counter/" {
		s.counter(w, pc)
		return
	}
	s.answer(w, pc, offer)
}

// counter offers what there is, to be answered with PATCH.
func (s *server) counter(w http.ResponseWriter, pc *webrtc.PeerConnection) {
	gathered := webrtc.GatheringCompletePromise(pc)
	offer, err := pc.CreateOffer(nil)
	if err == nil {
		err = pc.SetLocalDescription(offer)
	}
	if err != nil {
		s.t.Error(err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	<-gathered
	session := s.remember(pc)
	w.Header().Set("Location", ".."+session)
	w.Header().Set("ETag", `"`+session+`"`)
	w.Header().Set("Content-Type", `application/sdp; valid-until="Sat, 28 Nov 2076 00:00:00 GMT"`)
	w.WriteHeader(http.StatusNotAcceptable)
	_, _ = io.WriteString(w, pc.LocalDescription().SDP)
}

// accept takes the answer to an offer of ours.
func (s *server) accept(w http.ResponseWriter, r *http.Request, answer string) {
	if r.Header.Get("If-Match") != `"`+r.URL.Path+`"` || r.Header.Get("Content-Type") != "application/sdp" {
		http.Error(w, "which one", http.StatusPreconditionFailed)
		return
	}
	s.mu.Lock()
	pc := s.peers[r.URL.Path]
	s.mu.Unlock()
	if pc == nil {
		http.NotFound(w, r)
		return
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		s.t.Log(err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// remember returns the path of the session.
func (s *server) remember(pc *webrtc.PeerConnection) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions++
	session := "/session/" + strings.Repeat("x", s.sessions)
	s.peers[session] = pc
	return session
}

func (s *server) answer(w http.ResponseWriter, pc *webrtc.PeerConnection, offer string) {
	gathered := webrtc.GatheringCompletePromise(pc)
	err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer})
	if err == nil {
		var answer webrtc.SessionDescription
		if answer, err = pc.CreateAnswer(nil); err == nil {
			err = pc.SetLocalDescription(answer)
		}
	}
	if err != nil {
		s.t.Log(err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	<-gathered
	w.Header().Set("Location", s.remember(pc))
	w.Header().Set("Content-Type", "application/sdp")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, pc.LocalDescription().SDP)
}

func (s *server) publish(pc *webrtc.PeerConnection, name string, tracks int) {
	rm := &room{arrived: make(chan struct{})}
	s.mu.Lock()
	s.rooms[name] = rm
	s.mu.Unlock()
	pc.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		local, err := webrtc.NewTrackLocalStaticRTP(remote.Codec().RTPCodecCapability, remote.Kind().String(), "room")
		if err != nil {
			s.t.Error(err)
			return
		}
		s.mu.Lock()
		if rm.tracks = append(rm.tracks, local); len(rm.tracks) == tracks {
			close(rm.arrived)
		}
		s.mu.Unlock()
		s.tracks.Go(func() {
			for {
				p, _, err := remote.ReadRTP()
				if err != nil {
					return
				}
				for _, out := range s.tamper(p) {
					_ = local.WriteRTP(out)
				}
			}
		})
	})
}

func (s *server) play(pc *webrtc.PeerConnection, name string) error {
	s.mu.Lock()
	rm := s.rooms[name]
	s.mu.Unlock()
	if rm == nil {
		return io.ErrUnexpectedEOF
	}
	<-rm.arrived
	for _, track := range rm.tracks {
		sender, err := pc.AddTrack(track)
		if err != nil {
			return err
		}
		s.tracks.Go(func() {
			for b := make([]byte, 1500); ; {
				if _, _, err := sender.Read(b); err != nil {
					return
				}
			}
		})
	}
	return nil
}
