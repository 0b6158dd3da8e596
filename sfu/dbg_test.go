package sfu

import (
	"fmt"
	"github.com/pion/rtcp"
	"testing"
	"time"
)

func TestDbg(t *testing.T) {
	s := newSFU(t)
	c := publishCamera(t, s, "m", vp8)
	w := watch(t, s, "m", "v")
	eventually(t, "start", func() bool { c.frame(true); return len(w.packets(video)) >= 3 })
	before := c.pliCount()
	l := s.media["m"].tracks[video].source.Load()
	fmt.Println("wanted", l.keys.wanted.Load(), before)
	fmt.Println(w.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: w.ssrc[video]}}))
	for range 20 {
		<-time.After(50 * time.Millisecond)
		fmt.Println("wanted", l.keys.wanted.Load(), c.pliCount(), s.media["m"].counters.keyframeAsks.Load())
	}
}
